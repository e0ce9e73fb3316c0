import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { NotAKey, SignError, importKey, sign, signingFetch } from "../index.js";

const file = new URL("../../../verifier/signatures/testdata/requests.json", import.meta.url);
const { seed, public: publicHalf, key_id, requests } = JSON.parse(await readFile(file, "utf8"));
const key = await importKey(seed);

test("a key has the public half and the name that others compute", () => {
  assert.equal(Buffer.from(key.publicBytes).toString("hex"), publicHalf);
  assert.equal(key.keyId, key_id);
});

test("the private half cannot be read out of a key", async () => {
  await assert.rejects(crypto.subtle.exportKey("jwk", key.key));
});

for (const { name, method, url, headers, body, created, nonce, signed } of requests) {
  test(`the signature is that of the shared vector: ${name}`, async () => {
    assert.deepEqual(await sign(key, { method, url, headers, body }, { created, nonce }), signed);
  });
}

test("there are several vectors", () => assert.ok(requests.length >= 6));

test("no two signatures have one nonce", async () => {
  const request = { method: "POST", url: "https://a.example/", body: "{}" };
  const [one, two] = [await sign(key, request), await sign(key, request)];
  assert.notEqual(one["signature-input"], two["signature-input"]);
});

test("what is signed already is not signed again", async () => {
  const headers = { signature: "sig1=::" };
  await assert.rejects(sign(key, { method: "GET", url: "https://a.example/", headers }), SignError);
});

test("what is no key is refused and not shown", async () => {
  for (const text of ["", "zz".repeat(32), "00".repeat(31), `${"00".repeat(32)}00`]) {
    await assert.rejects(importKey(text), (error) => error instanceof NotAKey && !error.message.includes("00"));
  }
});

test("a fetch signs what it sends, and follows no redirect", async () => {
  const sent = [];
  const fetch = signingFetch(key, async (url, init) => {
    sent.push({ url, ...init });
    return new Response("ok");
  });
  await fetch("https://a.example/mcp/x", { method: "POST", body: "{}", headers: { "MCP-Session-Id": "s", signature: "old" } });
  await fetch(new URL("https://a.example/mcp/x?y"));
  const [post, get] = sent;
  assert.match(post.headers.get("signature-input"), /"mcp-session-id"/);
  assert.match(post.headers.get("signature"), /^sig1=:[^,]+:$/);
  assert.equal(new TextDecoder().decode(post.body), "{}");
  assert.equal(post.redirect, "manual");
  assert.match(get.headers.get("signature-input"), /"@query"/);
  assert.equal(get.body, undefined);
});

test("a signature holds over what a server sees", async () => {
  const url = "https://a.example:8443/v1/calls?x=1";
  const body = new TextEncoder().encode("{}");
  const headers = await sign(key, { method: "POST", url, body });
  const parameters = headers["signature-input"].replace(/^sig1=/, "");
  const base = [
    '"@method": POST',
    '"@authority": a.example:8443',
    '"@path": /v1/calls',
    '"@query": ?x=1',
    `"content-digest": ${headers["content-digest"]}`,
    `"@signature-params": ${parameters}`,
  ].join("\n");
  const open = await crypto.subtle.importKey("raw", key.publicBytes, "Ed25519", false, ["verify"]);
  const signature = Buffer.from(headers.signature.slice("sig1=:".length, -1), "base64");
  assert.ok(await crypto.subtle.verify("Ed25519", open, signature, new TextEncoder().encode(base)));
});
