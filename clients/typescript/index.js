/**
 * Signs requests for a Countersign gateway (RFC 9421, Ed25519), so that a call carries its caller's signature.
 *
 * In: a key and a request. Out: the headers `content-digest`, `signature-input` and `signature`, as the gateway's
 * profile asks (`docs/http.md`): method, authority, path, query and the digest of the body are covered, and each
 * header that changes what is done. {@link signingFetch} does it for every request of a `fetch`; {@link sign} for
 * anything else. WebCrypto alone: no dependencies.
 */

const TAG = "countersign";
const LABEL = "sig1";

/** Headers that are signed if the request has them, because they change what is done. */
export const COVERED_WHEN_PRESENT = Object.freeze([
  "authorization",
  "idempotency-key",
  "mcp-protocol-version",
  "mcp-session-id",
]);

/** Headers that only this code writes. */
const OURS = ["content-digest", "signature-input", "signature"];

/** Before the 32 bytes of an Ed25519 seed in PKCS #8 (RFC 8410, 7). */
const PKCS8 = Uint8Array.from([48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32]);

/** The request cannot be signed as the gateway asks. The message shows no value of it. */
export class SignError extends Error {
  name = "SignError";
}

/** What was given is no key. The message shows nothing of it. */
export class NotAKey extends Error {
  name = "NotAKey";
}

const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

/**
 * Takes the text of a key file as `countersign bridge keygen` makes it: 64 hexadecimal digits.
 * The private half cannot be read out of what this returns.
 */
export async function importKey(text) {
  const digits = text.trim();
  if (!/^[0-9a-f]{64}$/i.test(digits)) throw new NotAKey("a key is one line of 64 hexadecimal digits");
  const pkcs8 = new Uint8Array(PKCS8.length + 32);
  pkcs8.set(PKCS8);
  for (let at = 0; at < 32; at += 1) {
    pkcs8[PKCS8.length + at] = Number.parseInt(digits.slice(2 * at, 2 * at + 2), 16);
  }
  // WebCrypto gives the public half only of a key that can be exported; this one is dropped at once.
  const open = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]);
  const { x } = await crypto.subtle.exportKey("jwk", open);
  const sealed = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
  pkcs8.fill(0);
  const publicBytes = Uint8Array.from(atob(x.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  return Object.freeze({ key: sealed, publicBytes, keyId: hex(await sha256(publicBytes)) });
}

/** The values that may be signed. SPEC: RFC 9421, 2.1 and 2.2. */
function components(method, url, headers) {
  const address = new URL(url);
  if (address.protocol !== "https:" && address.protocol !== "http:") {
    throw new SignError("the address is not of http or https");
  }
  const found = new Map([
    ["@method", method],
    // Without the scheme's own port, in lower case: as URL has it.
    ["@authority", address.host],
    ["@path", address.pathname],
  ]);
  const query = address.href.split("#", 1)[0].indexOf("?");
  if (query >= 0) found.set("@query", address.search || "?");
  for (const [name, value] of headers) found.set(name.toLowerCase(), value.replace(/^[ \t]+|[ \t]+$/g, ""));
  return found;
}

/**
 * The headers that make a request a signed one.
 *
 * @param key from {@link importKey}
 * @param request `method`, `url`, `headers` (what `new Headers` takes), `body` (bytes or text)
 * @param fixed time and nonce, for tests; without it they are those of the moment
 */
export async function sign(key, request, fixed = undefined) {
  const headers = new Headers(request.headers);
  if (OURS.some((name) => headers.has(name))) throw new SignError("the request is signed already");
  const body = typeof request.body === "string" ? new TextEncoder().encode(request.body) : request.body ?? new Uint8Array();
  const digest = `sha-256=:${base64(await sha256(body))}:`;
  headers.set("content-digest", digest);
  const values = components(request.method, request.url, headers);
  const names = ["@method", "@authority", "@path"];
  if (values.has("@query")) names.push("@query");
  names.push("content-digest", ...COVERED_WHEN_PRESENT.filter((name) => values.has(name)));
  for (const name of names) {
    if (!/^[ -~]*$/.test(values.get(name))) throw new SignError(`${name} is not printable ASCII`);
  }
  // The coming second: a gateway refuses signatures that are not later than the second its epoch opened in.
  const created = fixed?.created ?? Math.floor(Date.now() / 1000) + 1;
  const nonce = fixed?.nonce ?? hex(crypto.getRandomValues(new Uint8Array(16)));
  const listed = names.map((name) => `"${name}"`).join(" ");
  const parameters = `(${listed});created=${created};keyid="${key.keyId}";nonce="${nonce}";alg="ed25519";tag="${TAG}"`;
  const lines = names.map((name) => `"${name}": ${values.get(name)}`);
  const base = [...lines, `"@signature-params": ${parameters}`].join("\n");
  const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", key.key, new TextEncoder().encode(base)));
  return {
    "content-digest": digest,
    "signature-input": `${LABEL}=${parameters}`,
    signature: `${LABEL}=:${base64(signature)}:`,
  };
}

/**
 * A `fetch` that signs what it sends. Redirects are not followed: a signature is for one address.
 *
 * @param key from {@link importKey}
 * @param send what sends; the `fetch` of this place, by default
 */
export function signingFetch(key, send = globalThis.fetch) {
  return async (input, init = undefined) => {
    const request = new Request(input, init);
    const body = new Uint8Array(await request.arrayBuffer());
    const headers = new Headers(request.headers);
    for (const name of OURS) headers.delete(name);
    const { method, url } = request;
    for (const [name, value] of Object.entries(await sign(key, { method, url, headers, body }))) {
      headers.set(name, value);
    }
    return send(url, {
      method,
      headers,
      body: body.length > 0 ? body : undefined,
      signal: request.signal,
      redirect: "manual",
    });
  };
}
