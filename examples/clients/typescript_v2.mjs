// The official TypeScript SDK, version 2 (all revisions).
//
//   COUNTERSIGN_TOKEN=… node typescript_v2.mjs URL legacy|2026-07-28

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { tell } from './steps.mjs';

const [url, revision] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${process.env.COUNTERSIGN_TOKEN}` };
const mode = revision === 'legacy' ? 'legacy' : { pin: revision };
const client = new Client({ name: 'example', version: '1.0.0' }, { versionNegotiation: { mode } });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
await tell(client);
await client.close();
