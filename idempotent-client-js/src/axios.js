import axios, { AxiosError, CanceledError } from 'axios';

import { forget, IdempotencyError, pending } from './index.js';
import { checkedKey } from './keys.js';
import { classify } from './outcome.js';
import { problemCode } from './problem.js';
import { copyOf, sameBody } from './request.js';
import { start } from './start.js';

/** @type {typeof import('./axios.js').idempotentAxios} */
export function idempotentAxios(instance = axios, defaults = {}) {
  return {
    async request(action, config, options) {
      const all = { ...defaults, ...options };
      const signals = [config.signal, all.signal];
      try {
        const request = repeatable(instance, config);
        return await start({
          action,
          options: all,
          signals: /** @type {AbortSignal[]} */ (signals),
          request,
          callerKey: request.key,
          difference,
          exchange: axiosExchange(instance, request.config),
        });
      } catch (error) {
        throw inAxiosWords(error, signals, config);
      }
    },
    forget: (action, options) => forget(action, { ...defaults, ...options }),
    pending: (action, options) => pending(action, { ...defaults, ...options }),
  };
}

/**
 * @typedef {object} Repeatable
 * @property {string} method
 * @property {string} uri
 * @property {unknown} data
 * @property {string | undefined} key
 * @property {import('axios').AxiosRequestConfig} config
 */

/**
 * @param {import('axios').AxiosInstance} instance
 * @param {import('axios').AxiosRequestConfig} config
 * @returns {Repeatable}
 */
function repeatable(instance, { signal: _, ...given }) {
  const config = { ...given, ...address(instance, given) };
  const method = (config.method ?? instance.defaults.method ?? 'get').toUpperCase();
  if (method === 'GET' || method === 'HEAD') {
    throw new IdempotencyError(
      'method-safe',
      `${method} changes nothing and needs no key: was \`method: 'post'\` forgotten?`,
    );
  }
  // What axios turns into JSON is left to it.
  const data = isBody(config.data) ? copyOf(config.data) : config.data;
  const headers = axios.AxiosHeaders.from(/** @type {any} */ (config.headers ?? {}));
  const key = headers.get('Idempotency-Key');
  return {
    method,
    uri: instance.getUri(config),
    data,
    key: key === undefined || key === null ? undefined : checkedKey(String(key)),
    config: { ...config, data, headers },
  };
}

/**
 * Where it goes, in full: the page's own address, to which a relative one belongs, may change
 * between attempts.
 *
 * @param {import('axios').AxiosInstance} instance
 * @param {import('axios').AxiosRequestConfig} config
 * @returns {Pick<import('axios').AxiosRequestConfig, 'baseURL' | 'url'>}
 */
function address(instance, { baseURL = instance.defaults.baseURL, url = '' }) {
  const page = globalThis.document?.baseURI;
  if (!page) return {};
  return baseURL
    ? { baseURL: new URL(baseURL, page).href, url }
    : { url: new URL(url, page).href };
}

/** @param {Repeatable} one @param {Repeatable} other */
async function difference(one, other) {
  if (one.method !== other.method) return 'method';
  if (one.uri !== other.uri) return 'URL';
  if (other.key !== undefined && one.key !== other.key) return 'Idempotency-Key';
  return (await sameData(one.data, other.data)) ? undefined : 'body';
}

/**
 * @param {any} one
 * @param {any} other
 * @returns {Promise<boolean>}
 */
async function sameData(one, other) {
  if (Object.is(one, other)) return true;
  if (!isPlain(one) || !isPlain(other) || Array.isArray(one) !== Array.isArray(other)) {
    if (isBody(one) || isBody(other)) return sameBody(one, other);
    return JSON.stringify(one) === JSON.stringify(other);
  }
  const names = Object.keys(one);
  if (names.length !== Object.keys(other).length) return false;
  for (const name of names) {
    if (!Object.hasOwn(other, name) || !(await sameData(one[name], other[name]))) return false;
  }
  return true;
}

/** Whether it is sent as it is. @param {any} data */
function isBody(data) {
  return (
    typeof data === 'object' &&
    data !== null &&
    (ArrayBuffer.isView(data) ||
      [ArrayBuffer, Blob, FormData, URLSearchParams].some((kind) => data instanceof kind) ||
      typeof (data.getReader ?? data.pipe ?? data[Symbol.asyncIterator]) === 'function')
  );
}

/** Whether axios makes the body out of its parts. @param {unknown} data */
function isPlain(data) {
  if (typeof data !== 'object' || data === null) return false;
  return Array.isArray(data) || [null, Object.prototype].includes(Object.getPrototypeOf(data));
}

/**
 * @param {import('axios').AxiosInstance} instance
 * @param {import('axios').AxiosRequestConfig} config
 * @returns {import('./run.js').Exchange<{ value?: any, error?: unknown }>}
 */
function axiosExchange(instance, config) {
  return {
    async send(key, signal) {
      const { adapter, sent } = observedAdapter(instance, config);
      const headers = config.headers && axios.AxiosHeaders.from(/** @type {any} */ (config.headers));
      headers?.set('Idempotency-Key', key);
      const value = await instance.request({ ...config, headers, adapter, signal }).then(
        (value) => ({ value }),
        (error) => ({ error }),
      );
      const { answered, answer } = sent;
      if (!answered || !answer) throw 'error' in value ? value.error : noAnswer(sent.count);
      // An interceptor sent it again past the adapter, and nothing came back.
      if ('error' in value && isUnanswered(value.error)) throw value.error;
      return {
        answer,
        uncertain: sent.uncertain || sent.pending > 0,
        retryAfter: header(answered, 'retry-after'),
        streaming: config.responseType === 'stream',
        value,
      };
    },
    hopeless: (error) => !isLostOnTheWay(error),
    share({ value: { value, error } }, info, callers) {
      const response = error === undefined ? value : /** @type {AxiosError} */ (error)?.response;
      if (typeof response === 'object' && response !== null && Object.isExtensible(response)) {
        Object.defineProperty(response, 'idempotency', {
          value: Object.freeze(info),
          configurable: true,
        });
      }
      if (error !== undefined) throw error;
      return Array(callers).fill(value);
    },
    discard({ value: { value, error } }) {
      const body = value?.data ?? /** @type {AxiosError} */ (error)?.response?.data;
      if (typeof body?.destroy === 'function') body.destroy();
      else body?.cancel?.()?.catch(() => {});
    },
  };
}

/**
 * What was sent for one attempt, as it is seen below the interceptors: these may make anything of
 * an answer, and may send the request again themselves.
 *
 * @typedef {object} Sent
 * @property {number} count how many requests
 * @property {number} pending how many of them have not ended
 * @property {boolean} uncertain whether one before the last may have had an effect that is not known
 * @property {import('axios').AxiosResponse} [answered] the last response
 * @property {import('./outcome.js').Answer} [answer] what it says
 */

/**
 * @param {import('axios').AxiosInstance} instance
 * @param {import('axios').AxiosRequestConfig} config
 * @returns {{ adapter: import('axios').AxiosAdapter, sent: Sent }}
 */
function observedAdapter(instance, config) {
  /** @type {Sent} */
  const sent = { count: 0, pending: 0, uncertain: false };
  return {
    sent,
    async adapter(request) {
      if (sent.answer) sent.uncertain = classify(sent.answer, sent.uncertain).uncertain;
      else if (sent.count > 0) sent.uncertain = true;
      sent.answered = sent.answer = undefined;
      sent.count += 1;
      sent.pending += 1;
      /** @param {import('axios').AxiosResponse | undefined} response */
      const came = async (response) => {
        sent.answered = response;
        sent.answer = response && (await answerOf(instance, response));
      };
      try {
        const send = axios.getAdapter(config.adapter ?? instance.defaults.adapter, request);
        const response = await send(request);
        await came(response);
        return response;
      } catch (error) {
        await came(/** @type {AxiosError} */ (error)?.response);
        throw error;
      } finally {
        sent.pending -= 1;
      }
    },
  };
}

/**
 * @param {import('axios').AxiosInstance} instance
 * @param {import('axios').AxiosResponse} response
 * @returns {Promise<import('./outcome.js').Answer>}
 */
async function answerOf(instance, response) {
  return {
    status: response.status,
    code: problemCode(header(response, 'content-type'), await textOf(response.data)),
    replayed: header(response, 'idempotency-replayed') === 'true',
    redirected: redirected(instance, response),
  };
}

/** Errors without an answer that would come again, however often it is tried. */
const HOPELESS = /^ERR_(BAD_|INVALID_URL|NOT_SUPPORT|DEPRECATED|CANCELED|FR_TOO_MANY)/;

/** @param {unknown} error */
function isLostOnTheWay(error) {
  if (error instanceof DOMException) return true; // an attempt's time-out
  return axios.isAxiosError(error) && !HOPELESS.test(error.code ?? '');
}

/** @param {unknown} error */
function isUnanswered(error) {
  return axios.isAxiosError(error) && !error.response && isLostOnTheWay(error);
}

/** An interceptor answered in the server's place. @param {number} count how many were sent */
function noAnswer(count) {
  const what = count > 0 ? 'the request was sent and got no answer' : 'nothing was sent';
  return new AxiosError(`${what}: an interceptor answered in its place`, AxiosError.ERR_CANCELED);
}

/** @param {import('axios').AxiosResponse} response @param {string} name */
function header({ headers }, name) {
  const value = axios.AxiosHeaders.from(/** @type {any} */ (headers)).get(name);
  return value === undefined || value === null ? undefined : String(value);
}

/**
 * @param {any} data a body as an adapter gives it
 * @returns {Promise<string | undefined>} `undefined` for a stream
 */
async function textOf(data) {
  if (typeof data === 'string') return data;
  if (data instanceof Blob) return data.text();
  if (data instanceof ArrayBuffer || ArrayBuffer.isView(data)) return new TextDecoder().decode(data);
  return data && !data.pipe && !data.getReader ? JSON.stringify(data) : undefined;
}

/**
 * @param {import('axios').AxiosInstance} instance
 * @param {import('axios').AxiosResponse} response
 */
function redirected(instance, { request, config }) {
  const at = request?.responseURL ?? request?.res?.responseUrl;
  if (!at) return false;
  const asked = new URL(instance.getUri(config), globalThis.location?.href ?? at);
  const came = new URL(at);
  asked.hash = came.hash = '';
  asked.username = asked.password = came.username = came.password = '';
  return asked.href !== came.href;
}

/**
 * Aborts and time-outs as axios tells of them.
 *
 * @param {unknown} error
 * @param {any[]} signals
 * @param {import('axios').AxiosRequestConfig} config
 */
function inAxiosWords(error, signals, config) {
  const internal = /** @type {import('axios').InternalAxiosRequestConfig} */ (config);
  if (signals.some((signal) => signal?.aborted && signal.reason === error)) {
    return Object.assign(new CanceledError(undefined, internal), { cause: error });
  }
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    const timeout = new AxiosError(error.message, AxiosError.ETIMEDOUT, internal);
    return Object.assign(timeout, { cause: error });
  }
  return error;
}
