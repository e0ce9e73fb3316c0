// An authorization server in use: oidc-provider, with its own pages for sign-in and consent.
//
//   node issuer.mjs CONFIGURATION.json      says "ready <its URL>", then one line for each request
//
// The file says which resources there are, which scope they have, and which clients.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { errors, Provider } from 'oidc-provider';

const { resources, scope, clients } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const seconds = new Map(clients.map(({ client_id, lifetime }) => [client_id, lifetime ?? 300]));

const server = createServer();
await new Promise(done => server.listen(0, '127.0.0.1', done));
const url = `http://127.0.0.1:${server.address().port}`;

const issuer = new Provider(url, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'first', alg: 'ES256', use: 'sig' }] },
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  clients: clients.map(({ lifetime, ...client }) => client),
  scopes: ['openid', 'offline_access', scope],
  features: {
    clientCredentials: { enabled: true },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(_, resource, client) {
        if (!resources.includes(resource)) throw new errors.InvalidTarget();
        const accessTokenTTL = seconds.get(client.clientId) ?? 300;
        return { scope, accessTokenTTL, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };
      },
    },
  },
});
const answer = issuer.callback();
server.on('request', (request, response) => {
  console.log(request.method, new URL(request.url, url).pathname);
  answer(request, response);
});
console.log('ready', url);
