// The official TypeScript SDK, version 1 (revisions up to 2025-11-25).
//
//   COUNTERSIGN_TOKEN=… node typescript_v1.mjs URL

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { tell } from './steps.mjs';

const headers = { Authorization: `Bearer ${process.env.COUNTERSIGN_TOKEN}` };
const client = new Client({ name: 'example', version: '1.0.0' });
await client.connect(new StreamableHTTPClientTransport(new URL(process.argv[2]), { requestInit: { headers } }));
await tell(client);
await client.close();
