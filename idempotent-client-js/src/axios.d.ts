import type { AxiosInstance, AxiosRequestConfig, AxiosResponse } from 'axios';

import type { forget, IdempotencyInfo, Options, pending } from './index.js';

/**
 * axios for requests that must not be done twice: what `idempotentFetch` does, with an instance's
 * base URL, interceptors and other settings.
 *
 * ```js
 * const payments = idempotentAxios(axios.create({ baseURL: '/api' }));
 * const { data } = await payments.request('checkout-4711', {
 *   method: 'post',
 *   url: '/payments',
 *   data: { amount: 100, currency: 'USD' },
 * });
 * ```
 *
 * Errors are axios's: `AxiosError` with the last `response`, or without one when there was none;
 * `ETIMEDOUT` when time is used up; `CanceledError` when a signal was aborted. Interceptors run for
 * each attempt. One that sends a request again must do so with the `config` that it was given, as
 * `instance.request(error.config)`, so that what became of each is seen.
 *
 * @param instance axios itself by default
 * @param defaults options for each call
 */
export function idempotentAxios(
  instance?: AxiosInstance,
  defaults?: AxiosOptions,
): IdempotentAxios;

/** `fetch` is not among them. */
export type AxiosOptions = Omit<Options, 'fetch'>;

/** What `idempotentAxios` gives. Its functions need no `this`. */
export interface IdempotentAxios {
  /**
   * Sends a request, and sends it again with the same key where that can help. `config.data` must
   * be left as it is until the end. Callers who are joined get the same response object.
   */
  request<T = any, D = any>(
    action: string,
    config: AxiosRequestConfig<D>,
    options?: AxiosOptions,
  ): Promise<IdempotentAxiosResponse<T, D>>;
  forget: typeof forget;
  pending: typeof pending;
}

/**
 * An ordinary `AxiosResponse` that says more. So does the `response` of an `AxiosError`. What an
 * interceptor made of a response does not.
 */
export type IdempotentAxiosResponse<T = any, D = any> = AxiosResponse<T, D> & {
  readonly idempotency: IdempotencyInfo;
};
