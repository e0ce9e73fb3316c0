// The official TypeScript SDK, version 2, with tokens that are bound to a key (DPoP). A person signs in.
//
//   node typescript_v2.mjs URL CLIENT
//
// Afterwards it sends the token as a thief would.

import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline/promises';
import { Client, DpopSession, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';

const step = (name, outcome) => console.log(JSON.stringify([name, outcome]));

const [url, clientId] = process.argv.slice(2);
const callback = 'http://127.0.0.1/callback';
const session = await DpopSession.create();
const kept = {};
const provider = {
  redirectUrl: callback,
  clientMetadata: { redirect_uris: [callback], token_endpoint_auth_method: 'none' },
  clientInformation: () => kept.client ?? { client_id: clientId },
  saveClientInformation: client => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: tokens => { kept.tokens = tokens; },
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: verifier => { kept.verifier = verifier; },
  discoveryState: () => kept.discovered,
  saveDiscoveryState: discovered => { kept.discovered = discovered; },
  redirectToAuthorization: address => step('authorize', address.href),
  dpop: () => session,
};

const connect = async () => {
  const client = new Client({ name: 'example', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
  try {
    await client.connect(transport);
    return client;
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    const input = createInterface({ input: process.stdin });
    const back = new URL(await input.question(''));
    input.close();
    await transport.finishAuth(back.searchParams);
    return connect();
  }
};
const client = await connect();
const call = async (name, note) => (await client.callTool({ name, arguments: { name: note } })).content[0].text;
step('list', (await client.listTools()).tools.map(tool => tool.name).sort());
step('call', await call('read_note', 'plan'));
step('refused', await call('read_note', 'salaries'));
await client.close();

const token = kept.tokens.access_token;
// What the records of these calls name it by.
step('token', createHash('sha256').update(token).digest('hex'));
const proof = (from, htm) => from.buildProof({ htm, htu: url, accessToken: token });
const send = async headers => {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
  const kinds = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' };
  const answer = await fetch(url, { method: 'POST', headers: { ...kinds, ...headers }, body });
  await answer.text();
  return [answer.status, answer.headers.get('WWW-Authenticate')];
};
const bound = DPoP => send({ Authorization: `DPoP ${token}`, ...(DPoP && { DPoP }) });
const once = await proof(session, 'POST');
step('with a proof', await bound(once));
step('as a bearer token', await send({ Authorization: `Bearer ${token}` }));
step('without a proof', await bound());
step('with a proof that was used', await bound(once));
step('with a proof by another key', await bound(await proof(await DpopSession.create(), 'POST')));
step('with a proof for another method', await bound(await proof(session, 'GET')));
