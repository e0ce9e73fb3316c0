/** A key that signs; its private half cannot be read out of it. */
export interface Key {
  readonly key: CryptoKey;
  readonly publicBytes: Uint8Array;
  /** SHA-256 of the public half, 64 hexadecimal digits. */
  readonly keyId: string;
}

/** A request before it is signed. */
export interface Unsigned {
  method: string;
  url: string;
  headers?: HeadersInit;
  body?: Uint8Array | string;
}

/** The headers that make a request a signed one. */
export interface Signed {
  "content-digest": string;
  "signature-input": string;
  signature: string;
}

/** Headers that are signed if the request has them. */
export declare const COVERED_WHEN_PRESENT: readonly string[];

/** The request cannot be signed as the gateway asks. */
export declare class SignError extends Error {}

/** What was given is no key. */
export declare class NotAKey extends Error {}

/** Takes the text of a key file: 64 hexadecimal digits. */
export declare function importKey(text: string): Promise<Key>;

/** Signs one request. `fixed` is for tests. */
export declare function sign(
  key: Key,
  request: Unsigned,
  fixed?: { created: number; nonce: string },
): Promise<Signed>;

/** A `fetch` that signs what it sends, and follows no redirects. */
export declare function signingFetch(key: Key, send?: typeof fetch): typeof fetch;
