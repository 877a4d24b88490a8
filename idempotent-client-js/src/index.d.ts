/**
 * `fetch` for requests that must not be done twice.
 *
 * Each thing that the user wants done is an **action** with a name of its own. Its requests carry
 * one `Idempotency-Key`, over retries, double clicks and reloads, until the outcome is certain.
 *
 * ```js
 * const response = await idempotentFetch('checkout-4711', '/payments', {
 *   method: 'POST',
 *   headers: { 'Content-Type': 'application/json' },
 *   body: JSON.stringify({ amount: 100, currency: 'USD' }),
 * });
 * ```
 */

/**
 * Sends a request, and sends it again with the same key where that can help, until its outcome is
 * certain or it is time to stop.
 *
 * Calls for the same action that overlap in one page are one request: each caller gets a `Response`
 * of its own. (The options are the first caller's, but for each caller's own signal.) Once it has ended, a new call is a new operation, with a new key if the outcome was
 * certain: after "done" disable the button, or use a new action name for the next thing.
 *
 * Like `fetch` it resolves with whatever the server answered, errors too: when attempts or time
 * are used up, with the last answer. A body is received to its end first (up to 1 MiB, and unless
 * it is `text/event-stream`), so that one that breaks off is sent for again.
 *
 * An abort does not undo what the server may have done already; the key is kept.
 *
 * @param action names one thing that the user wants done, such as `"checkout-4711"`
 * @param url as for `fetch`; a `Request` is not taken, since its body can be sent only once
 * @param init as for `fetch`. An `Idempotency-Key` among the headers is used in place of a new
 *   key; it may have been sent before, by a page that knew of it, so a refusal does not give it up.
 *   The body may be anything but a stream. `signal` ends this caller's wait; the request is
 *   given up when nobody waits for it any more
 * @throws {IdempotencyError} when the call cannot be made as it is written, or the action's key can
 *   neither be used nor be replaced; nothing was sent because of it
 * @throws {TypeError} as `fetch`: when the last attempt got no answer
 * @throws {DOMException} `TimeoutError` when the time-out ended it; the key is kept
 * @throws the signal's reason when it was aborted; the key is kept
 */
export function idempotentFetch(
  action: string,
  url: string | URL,
  init?: RequestInit,
  options?: Options,
): Promise<IdempotentResponse>;

/**
 * Gives up an action's key, so that the next call is a new operation.
 *
 * For when the application knows more than the client can: the user was shown that the payment is
 * not there, or wants another thing. A request that is under way is not aborted; its callers get
 * their answer.
 */
export function forget(
  action: string,
  options?: Pick<Options, 'storage' | 'onEvent'>,
): Promise<void>;

/**
 * The key of an action whose outcome is not certain yet, such as one that a reload interrupted.
 * While a request is under way there is one too. One that is `refused` is not used any more, and
 * stays until `forget`.
 *
 * @returns `undefined` when there is none: the next call is a new operation
 */
export function pending(
  action: string,
  options?: Pick<Options, 'storage' | 'onEvent' | 'ttl' | 'now'>,
): Promise<PendingAction | undefined>;

/** The same functions with options bound; options of a call come before them. */
export function createClient(defaults?: Options): Client;

/** What `createClient` gives. Its functions need no `this`. */
export interface Client {
  /** {@link idempotentFetch} with this client's options. */
  fetch: typeof idempotentFetch;
  /** {@link forget} with this client's options. */
  forget: typeof forget;
  /** {@link pending} with this client's options. */
  pending: typeof pending;
}

/** Times are in milliseconds. */
export interface Options {
  /**
   * Where keys are kept: `"session"` (the default, `sessionStorage`: this tab, over reloads),
   * `"local"` (`localStorage`: all tabs, and after the browser was closed), `"memory"` (until the
   * page is left), or a store of your own. What a store does not take is kept in memory, and the
   * event `storage-unavailable` says so. If a store of your own cannot be read, the call is refused
   * with `storage-failed`: it might have a key that was sent.
   */
  storage?: 'session' | 'local' | 'memory' | KeyStore;
  /** How many times a request is sent at most. 8 by default. */
  maxAttempts?: number;
  /** How long all of it may take, waits for other tabs included. 60,000 by default. */
  timeout?: number;
  /** How long one attempt may take, its body included. 15,000 by default. */
  attemptTimeout?: number;
  /** The longest wait before the second attempt; it doubles with each. 300 by default. */
  baseDelay?: number;
  /** The longest wait between attempts, unless the server asks for more. 10,000 by default. */
  maxDelay?: number;
  /**
   * How long a key is used. 23 hours by default: less than the 24 h for which the server keeps the
   * outcome, unless it says otherwise. After that an action whose outcome was never known is
   * refused with `key-expired`, until `forget`. So is a further attempt of a call that was under
   * way while the machine slept.
   */
  ttl?: number;
  /** Ends this caller's wait, like `init.signal`. */
  signal?: AbortSignal | null;
  /**
   * Used in place of `fetch`. It must send one request for each call. One that sends it again by
   * itself would have to reject unless it knows what became of all of them: a 401 after a request
   * that was lost looks as if nothing had been done, and the key would be given up.
   */
  fetch?: typeof fetch;
  /**
   * Told of everything that happens, as it happens. Events carry the key: whoever has it, and may
   * call the server as this user, can read the outcome. Don't send it to a log.
   */
  onEvent?: (event: IdempotencyEvent) => void;
  /** A number from 0 to below 1. For tests. */
  random?: () => number;
  /** The time, in milliseconds since 1970. For tests. */
  now?: () => number;
  /** Waits between attempts. For tests. */
  sleep?: (delay: number, signal: AbortSignal) => Promise<void>;
}

/**
 * A place for keys. Values are strings. Its functions may return promises, and have effect in the
 * order in which they are called.
 */
export interface KeyStore {
  /**
   * @returns the value, or `undefined` or `null` if there is none. To throw, or to reject, says
   *   that it is not known, and nothing is sent
   */
  get(name: string): string | null | undefined | PromiseLike<string | null | undefined>;
  /** The promise, if any, resolves when the value will be found after a reload. */
  set(name: string, value: string): unknown;
  /** Does nothing if there is no such name. */
  delete(name: string): unknown;
}

/** An ordinary `Response` that says more. (A `clone()` of it does not.) */
export type IdempotentResponse = Response & { readonly idempotency: IdempotencyInfo };

/** How a response came about. */
export interface IdempotencyInfo {
  readonly action: string;
  /** The key. See {@link Options.onEvent}. */
  readonly key: string;
  /** How many requests were sent. */
  readonly attempts: number;
  /** Whether this is the recorded response of an earlier request. */
  readonly replayed: boolean;
  /** The `code` of a problem document. */
  readonly code: string | undefined;
  /** Whether the next call for this action will use the same key. */
  readonly keyKept: boolean;
  /** Why. */
  readonly reason: OutcomeReason;
}

/** A key that is kept. */
export interface PendingAction {
  /** `undefined` if what is stored cannot be read. */
  key: string | undefined;
  /** In milliseconds since 1970; `undefined` if what is stored cannot be read. */
  created: number | undefined;
  /** Whether a request with this key may have had an effect that the client does not know of. */
  uncertain: boolean;
  /** Calls are refused with an error of this code, until `forget`. */
  refused?: 'key-expired' | 'key-unreadable';
}

/**
 * What an answer said.
 *
 * The key is given up after `done` (a 2xx, or 409 `response-not-kept`) and `refused` (a 4xx that
 * will not change). It is kept after all others:
 *
 * - `refused-but-uncertain`: a 4xx, but an earlier request with this key was left uncertain
 * - `try-again`: 408, 425, 429, 502, 503, 504
 * - `in-flight`, `outcome-unknown`, `key-reused`: problem documents of that code
 * - `conflict`: a 409 of another code or of none, which some servers send for what is in flight
 * - `failure`: another 5xx
 * - `recorded-failure`: a 5xx that is a replay and will not change
 * - `redirected`: the answer to another request, to which a redirect led, unless it is a replay
 * - `no-outcome`: a 3xx, or an answer that the browser does not show
 * - `unreadable`: a 409 or 422 whose problem document could not be read
 */
export type OutcomeReason =
  | 'done'
  | 'refused'
  | 'refused-but-uncertain'
  | 'try-again'
  | 'in-flight'
  | 'outcome-unknown'
  | 'key-reused'
  | 'conflict'
  | 'failure'
  | 'recorded-failure'
  | 'redirected'
  | 'no-outcome'
  | 'unreadable';

/** Something that happened. `time` is in milliseconds since 1970. */
export type IdempotencyEvent = { action: string; time: number } & (
  | { type: 'joined' }
  /** Another tab is doing the same action; this call waits for it. */
  | { type: 'waiting' }
  /** The key for this operation: newly made, found in the store, or the caller's. */
  | { type: 'key'; key: string; origin: 'new' | 'stored' | 'caller'; uncertain: boolean }
  /** A request is about to be sent. The first is 1. */
  | { type: 'attempt'; key: string; attempt: number }
  | {
      type: 'response';
      key: string;
      attempt: number;
      status: number;
      code: string | null | undefined;
      replayed: boolean;
      reason: OutcomeReason;
    }
  /** There was no answer. */
  | { type: 'failed'; key: string; attempt: number; reason: 'network' | 'timeout'; error: unknown }
  /** The attempt of this number will be made after `delay` milliseconds. */
  | {
      type: 'retry';
      key: string;
      attempt: number;
      delay: number;
      reason: OutcomeReason | 'network' | 'timeout';
    }
  /** The answer is the recorded response of an earlier request. */
  | { type: 'replayed'; key: string; attempt: number; status: number }
  /** It ended, and the next call will use the same key. */
  | { type: 'kept'; key: string; reason: OutcomeReason | 'network' | 'timeout' | 'aborted' | 'expired' }
  /** The next call will use a new key. */
  | { type: 'given-up'; key: string | undefined; reason: OutcomeReason | 'forgotten' | 'replaced' }
  /** A stored key is too old. Nothing was done with it, so that a new one takes its place. */
  | { type: 'entry-ignored'; reason: 'expired'; key: string }
  /** What is stored can neither be used nor be replaced: the call is refused. */
  | {
      type: 'entry-refused';
      reason: 'key-expired' | 'key-unreadable';
      key: string | undefined;
    }
  /**
   * The store failed, and memory is used in its place, unless it is a store of your own that could
   * not be read. Told once for each call.
   */
  | { type: 'storage-unavailable'; during: 'get' | 'set' | 'delete'; error: unknown }
);

/** What is wrong with a call. */
export type IdempotencyErrorCode =
  /** The action is no name. */
  | 'action-invalid'
  /** An option is not what it must be. */
  | 'option-invalid'
  /** The request cannot carry a key, or cannot be sent more than once. */
  | 'request-invalid'
  /** GET and HEAD change nothing. */
  | 'method-safe'
  /** The body is a stream. */
  | 'body-not-repeatable'
  /** The caller's own key is none that a server takes. */
  | 'key-invalid'
  /** The action is under way with another method, URL or body. */
  | 'different-request'
  /**
   * The action's key is older than `ttl`, and its outcome was never known. The server may have
   * forgotten the key, and a new one might do it twice. Find out what happened, then `forget`.
   */
  | 'key-expired'
  /** What is stored of the action cannot be read. Find out what happened, then `forget`. */
  | 'key-unreadable'
  /** A store of your own could not be read; `cause` says why. */
  | 'storage-failed'
  /** There is nothing to make a key with. */
  | 'no-randomness';

/**
 * A call that cannot be made: as it was written, or because of what is kept of its action. Nothing
 * was sent because of it.
 */
export class IdempotencyError extends Error {
  constructor(code: IdempotencyErrorCode, message: string, options?: ErrorOptions);
  readonly name: 'IdempotencyError';
  readonly code: IdempotencyErrorCode;
  readonly cause?: unknown;
}
