// What an example does, tells in lines of JSON, and waits for: the same with every version of the SDK.

import { createInterface } from 'node:readline/promises';

const step = (name, outcome) => console.log(JSON.stringify([name, outcome]));

export async function tell(client) {
  const call = async (name, note) => {
    const result = await client.callTool({ name, arguments: { name: note } });
    return result.content[0].text;
  };
  step('list', (await client.listTools()).tools.map(tool => tool.name).sort());
  step('call', await call('read_note', 'plan'));
  step('refused', await call('read_note', 'salaries'));
  step('halted', await call('delete_note', 'draft'));
  // A line of input: by then, somebody has said yes with `countersign approve`.
  const input = createInterface({ input: process.stdin });
  await input.question('');
  input.close();
  step('resumed', await call('delete_note', 'draft'));
}
