/** Endpoints that are not a plain member with a vote: a gRPC proxy, a learner, something else. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import { Lines, realClock, until } from '../fakes.js';
import { ETCD, EtcdServer, freePort, noEtcd } from './etcd-server.js';

describe('endpoints of another kind', { skip: noEtcd, timeout: 600_000 }, () => {
  let etcd: EtcdServer;
  let directory: string;
  let log: Lines;
  const children: ChildProcess[] = [];
  const stores: EtcdStore[] = [];

  before(async () => {
    etcd = await EtcdServer.start();
    etcd.ctl('put', '/net/config', 'here');
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-etcd-'));
  });
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
  });
  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    await etcd.end();
    fs.rmSync(directory, { recursive: true, force: true });
  });

  function open(...endpoints: string[]): EtcdStore {
    log = new Lines();
    const store = new EtcdStore({ endpoints, prefix: '/net', clock: realClock, log });
    stores.push(store);
    return store;
  }

  function run(...args: string[]): void {
    children.push(spawn(ETCD, args, { stdio: 'ignore', cwd: directory }));
  }

  async function accepts(port: number): Promise<void> {
    await until(
      () =>
        new Promise<boolean>((resolve) => {
          const socket = net.connect(port, '127.0.0.1', () => resolve(true));
          socket.on('error', () => resolve(false));
          socket.on('connect', () => socket.destroy());
        }),
    );
  }

  test('an etcd grpc-proxy serves like a member, also when etcd behind it is started again', async () => {
    const port = await freePort();
    const place = `127.0.0.1:${port}`;
    run(
      ...['grpc-proxy', 'start', `--endpoints=127.0.0.1:${etcd.port}`, `--listen-addr=${place}`],
      ...[`--advertise-client-url=${place}`, `--data-dir=${path.join(directory, 'proxy')}`],
    );
    await accepts(port);
    const store = open(`http://${place}`);
    assert.equal(await store.readConfig(), 'here');
    const { leases } = store;
    const first = (await leases.create('10.5.1.0-24', 'x', 60)) ?? assert.fail();
    assert.equal(await leases.keepAlive(first.lease), 60);
    assert.ok((await leases.look('10.5.1.0-24')).ttl > 50);
    const keys = new Map<string, string>();
    store.follow({
      snapshot: ({ entries }) => {
        keys.clear();
        for (const { key, value } of entries) keys.set(key, value);
      },
      changes: (batch) => {
        for (const change of batch) {
          if (change.type === 'put') keys.set(change.entry.key, change.entry.value);
          else keys.delete(change.key);
        }
      },
    });
    await until(() => keys.get('10.5.1.0-24') === 'x');
    assert.ok(await leases.update('10.5.1.0-24', 'y', 60, first.revision));
    await until(() => keys.get('10.5.1.0-24') === 'y');
    await leases.discard(first.lease);
    await etcd.halt();
    await etcd.run();
    etcd.ctl('put', '/net/subnets/10.5.2.0-24', 'z');
    await until(() => keys.get('10.5.2.0-24') === 'z', 20_000);
    assert.deepEqual(log.matching(/cluster/), []);
  });

  test('a member without a vote (a learner) is passed over, and named when it is alone', async () => {
    const [port, peerPort] = [await freePort(), await freePort()];
    const peer = `http://127.0.0.1:${peerPort}`;
    const [, voter = ''] = /(http:\/\/127[^,]*), http/.exec(etcd.ctl('member', 'list')) ?? [];
    etcd.ctl('member', 'add', 'learner', '--learner', `--peer-urls=${peer}`);
    const endpoint = `http://127.0.0.1:${port}`;
    run(
      ...['--name=learner', `--data-dir=${path.join(directory, 'learner')}`],
      ...[`--listen-client-urls=${endpoint}`, `--advertise-client-urls=${endpoint}`],
      ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`],
      ...[`--initial-cluster=test=${voter},learner=${peer}`, '--initial-cluster-state=existing'],
      ...['--unsafe-no-fsync', '--log-level=error'],
    );
    await accepts(port);
    const store = open(endpoint, etcd.endpoint);
    assert.equal(await store.readConfig(), 'here');
    assert.equal(store.member, etcd.endpoint);
    const writer = open(endpoint, etcd.endpoint);
    assert.notEqual(await writer.leases.create('10.5.3.0-24', 'x', 60), undefined);
    assert.equal(writer.member, etcd.endpoint);
    await until(async () => {
      const error = await open(endpoint)
        .readConfig()
        .catch((reason: Error) => reason);
      return (
        error instanceof Error &&
        error.name === 'StoreUnreachable' &&
        error.message.includes(`${endpoint}: etcdserver: rpc not supported for learner`)
      );
    });
  });

  test('a newer learner refuses with another code, and is passed over all the same', async (t) => {
    const learner = http2.createServer();
    learner.on('stream', (stream) => {
      const type = { ':status': 200, 'content-type': 'application/grpc' };
      const words = 'etcdserver: rpc not supported for learner';
      stream.respond({ ...type, 'grpc-status': '9', 'grpc-message': words }, { endStream: true });
    });
    await new Promise<void>((resolve) => learner.listen(0, '127.0.0.1', resolve));
    t.after(() => learner.close());
    const { port } = learner.address() as net.AddressInfo;
    const store = open(`http://127.0.0.1:${port}`, etcd.endpoint);
    assert.equal(await store.readConfig(), 'here');
    assert.equal(store.member, etcd.endpoint);
    await store.close();
  });

  test('what is not etcd is passed over, and said to be none', async (t) => {
    const web = http.createServer((_, response) => response.end('hello'));
    const mute = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.end('SSH-2.0-nothing\r\n');
    });
    for (const server of [web, mute]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      t.after(() => server.close());
      const { port } = server.address() as net.AddressInfo;
      const store = open(`http://127.0.0.1:${port}`, etcd.endpoint);
      assert.equal(await store.readConfig(), 'here');
      const alone = open(`http://127.0.0.1:${port}`);
      await assert.rejects(alone.readConfig(), /^StoreUnreachable: .*it speaks no HTTP\/2/);
    }
    const tls = open(etcd.endpoint.replace('http:', 'https:'));
    await assert.rejects(tls.readConfig(), /TLS: .*: is it http:\/\/ there\?/);
  });
});
