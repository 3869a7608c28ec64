/** Variables that name a proxy are for programs that reach out; etcd is dialled directly. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import net from 'node:net';
import { describe, test } from 'node:test';
import { EtcdServer, noEtcd, V2_ON } from './etcd-server.js';

const PROGRAM = `
  import { EtcdStore } from ${JSON.stringify(new URL('../../../src/control/store/etcd.js', import.meta.url).href)};
  import { Lines, realClock } from ${JSON.stringify(new URL('../fakes.js', import.meta.url).href)};
  const log = new Lines();
  for (const host of ['127.0.0.1', 'localhost']) {
    const endpoints = ['http://' + host + ':' + process.env.ETCD_PORT];
    const store = new EtcdStore({ endpoints, prefix: '/net', clock: realClock, log });
    console.log(await store.readConfig());
    console.log(await store.hintForMissingConfig());
    await store.close();
  }
`;

describe('a proxy in the environment', { skip: noEtcd, timeout: 600_000 }, () => {
  test('has no say, whatever the variable is called, for a name or an address', async (t) => {
    const etcd = await EtcdServer.start(...V2_ON);
    t.after(() => etcd.end());
    etcd.ctl('put', '/net/config', 'here');
    let asked = 0;
    const proxy = net.createServer((socket) => {
      asked++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    t.after(() => proxy.close());
    const { port } = proxy.address() as net.AddressInfo;
    const names = ['http_proxy', 'https_proxy', 'grpc_proxy', 'all_proxy'];
    const variables = [...names, ...names.map((name) => name.toUpperCase())];
    const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM], {
      env: {
        PATH: process.env.PATH,
        ETCD_PORT: String(etcd.port),
        // Node's own switch, from 24 on.
        NODE_USE_ENV_PROXY: '1',
        no_proxy: 'example.com',
        NO_PROXY: 'example.com',
        ...Object.fromEntries(variables.map((name) => [name, `http://127.0.0.1:${port}`])),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const code = await new Promise((resolve) => child.once('close', resolve));
    assert.equal(code, 0);
    assert.deepEqual(output.match(/^here$/gm), ['here', 'here']);
    assert.equal(output.match(/^put one with/gm)?.length, 2, output);
    assert.equal(asked, 0, 'the proxy was asked');
  });
});
