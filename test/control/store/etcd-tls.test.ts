/** TLS to names and addresses, and certificates and passwords that are replaced meanwhile. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { ETCD_ACCESS, PASSWORD_FILE, readEtcdAccess } from '../../../src/cli/etcd-access.js';
import { parseFlags } from '../../../src/cli/flags.js';
import type { Access } from '../../../src/control/store/access.js';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import { Lines, realClock, until } from '../fakes.js';
import { makeCertificates, noOpenssl } from './certificates.js';
import { noEtcd } from './etcd-server.js';
import { SecureEtcd } from './secure-etcd.js';

const PASSWORDS = { root: 'r00t-pass', weft: 'w3ft-pass' };

describe('TLS to etcd', { skip: noEtcd || noOpenssl, timeout: 600_000 }, () => {
  const servers: SecureEtcd[] = [];
  const stores: EtcdStore[] = [];
  const directories: string[] = [];
  const warnings: string[] = [];
  let log: Lines;
  const onWarning = (warning: Error) => warnings.push(`${warning}`);
  process.on('warning', onWarning);

  beforeEach(() => {
    log = new Lines();
  });
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
    for (const server of servers.splice(0)) await server.end();
    for (const directory of directories.splice(0)) fs.rmSync(directory, { recursive: true });
  });
  after(() => process.off('warning', onWarning));

  async function serve(...args: string[]): Promise<SecureEtcd> {
    const server = await SecureEtcd.start(...args);
    servers.push(server);
    return server;
  }

  function open(endpoint: string, readAccess: () => Access): EtcdStore {
    const store = new EtcdStore({
      ...{ endpoints: [endpoint], prefix: '/net', clock: realClock, log, readAccess },
    });
    stores.push(store);
    return store;
  }

  const caOf =
    ({ certificates }: SecureEtcd) =>
    (): Access => ({ credentials: { rootCertificate: fs.readFileSync(certificates.ca) } });

  function follow(store: EtcdStore): Set<string> {
    const keys = new Set<string>();
    store.follow({
      snapshot: ({ entries }) => {
        for (const { key } of entries) keys.add(key);
      },
      changes: (batch) => {
        for (const change of batch) if (change.type === 'put') keys.add(change.entry.key);
      },
    });
    return keys;
  }

  function temporary(): string {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-tls-'));
    directories.push(directory);
    return directory;
  }

  /** As `weft up` reads them. */
  const reader =
    (endpoint: string, ...args: string[]) =>
    () =>
      readEtcdAccess(parseFlags([...ETCD_ACCESS, PASSWORD_FILE], args), [endpoint], {});

  test('an address has to be in the certificate, and is told to nobody; a name is told', async (t) => {
    const server = await serve();
    server.ctl('put', '/net/config', 'here');
    const { port } = new URL(server.endpoint);
    await server.halt();
    const urls = ['127.0.0.1', '127.0.0.2'].map((at) => `https://${at}:${port}`).join(',');
    await server.run(`--listen-client-urls=${urls}`);
    for (const host of ['127.0.0.1', 'localhost']) {
      const store = open(`https://${host}:${port}`, caOf(server));
      assert.equal(await store.readConfig(), 'here', host);
    }
    await assert.rejects(
      open(`https://127.0.0.2:${port}`, caOf(server)).readConfig(),
      /TLS: Hostname\/IP does not match .*127\.0\.0\.2 is not in the cert's list: 127\.0\.0\.1/,
    );

    const told: (string | false | null)[] = [];
    const { certificates } = server;
    const listener = tls.createServer(
      { key: fs.readFileSync(certificates.serverKey), cert: fs.readFileSync(certificates.server) },
      (socket) => {
        told.push((socket as tls.TLSSocket & { servername: string | false }).servername);
        socket.destroy();
      },
    );
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    t.after(() => listener.close());
    const { port: at } = listener.address() as { port: number };
    for (const host of ['127.0.0.1', 'localhost']) {
      await assert.rejects(open(`https://${host}:${at}`, caOf(server)).readConfig());
    }
    assert.deepEqual(told, [false, 'localhost']);
    await sleep(0);
    assert.deepEqual(warnings, []);
  });

  test('CA, certificate and key are replaced while it runs; a wrong pair is passed over', async () => {
    const server = await serve();
    const { certificates, directory, endpoint } = server;
    const secured = ['--client-cert-auth', `--trusted-ca-file=${certificates.ca}`];
    await server.halt();
    await server.run(...secured);
    // etcd reads its own again by itself, so ours are elsewhere.
    const ours = temporary();
    const second = temporary();
    makeCertificates(second);
    const copy = (from: string, to: string) => {
      for (const name of fs.readdirSync(from)) {
        if (/\.(pem|key)$/.test(name)) fs.copyFileSync(path.join(from, name), path.join(to, name));
      }
    };
    copy(directory, ours);
    const [ca, client, clientKey] = ['ca.pem', 'client.pem', 'client.key'].map((name) =>
      path.join(ours, name),
    ) as [string, string, string];
    const files = [`-etcd-cafile=${ca}`, `-etcd-certfile=${client}`, `-etcd-keyfile=${clientKey}`];
    const store = open(endpoint, reader(endpoint, ...files));
    const keys = follow(store);
    const hears = async (key: string) => {
      server.ctl('put', `/net/subnets/${key}`, 'x');
      await until(() => keys.has(key));
    };
    await hears('10.10.1.0-24');

    await server.halt();
    copy(second, directory);
    await server.run(...secured);
    const old = open(endpoint, reader(endpoint, ...files));
    await assert.rejects(old.readConfig(), /cannot read \/net\/config .*TLS: .*(verify|sign)/);

    // A key that was copied, and a certificate that was not yet.
    fs.copyFileSync(path.join(second, 'ca.pem'), ca);
    fs.copyFileSync(path.join(second, 'client.key'), clientKey);
    const belongs = () => log.matching(/^warn: .*do not belong together/);
    await until(() => belongs().length === 1);
    assert.match(belongs()[0] ?? '', /-etcd-keyfile .*client\.key .*going on with what was read/);
    copy(second, ours);
    await hears('10.10.2.0-24');
    assert.equal(log.matching(/^info: what etcd is accessed with can be used again/).length, 1);

    // Every new connection reads them; what was good goes on working.
    fs.copyFileSync(path.join(second, 'other-ca.key'), clientKey);
    store.reconnect();
    await until(() => belongs().length === 2);
    await hears('10.10.3.0-24').catch(() => assert.fail('with the old pair'));
    for (const wrong of ['', 'half', fs.readFileSync(ca, 'latin1').slice(0, 200)]) {
      fs.writeFileSync(client, wrong);
      store.reconnect();
      assert.match(
        log.matching(/^warn/).at(-1) ?? '',
        /client\.pem: this is not a PEM certificate/,
      );
    }
    fs.rmSync(client);
    store.reconnect();
    store.reconnect();
    assert.equal(log.matching(/^warn: .*client\.pem: there is no such file/).length, 1);
    copy(second, ours);
    await hears('10.10.4.0-24');
    store.reconnect();
    assert.equal(log.matching(/^info: what etcd is accessed with can be used again/).length, 2);
  });

  test('a password is replaced while it runs, in etcd first', async () => {
    const server = await serve();
    const { endpoint, directory, certificates } = server;
    server.addUsers('/net', PASSWORDS);
    server.ctl('auth', 'enable');
    const file = path.join(directory, 'password');
    fs.writeFileSync(file, `${PASSWORDS.weft}\n`);
    const access = [`-etcd-cafile=${certificates.ca}`, `-etcd-password-file=${file}`];
    const store = open(endpoint, reader(endpoint, ...access, '-etcd-username=weft'));
    const keys = follow(store);
    assert.notEqual(await store.leases.create('10.10.1.0-24', 'x', 60), undefined);
    const root = ['--user', `root:${PASSWORDS.root}`];
    server.ctl(...root, 'user', 'delete', 'weft');
    server.ctl(...root, 'user', 'add', 'weft:another-one');
    server.ctl(...root, 'user', 'grant-role', 'weft', 'node');
    await assert.rejects(store.list(), /authentication failed/);
    fs.writeFileSync(file, 'another-one\n');
    await store.list();
    server.ctl(...root, 'put', '/net/subnets/10.10.2.0-24', 'y');
    await until(() => keys.has('10.10.2.0-24'));
    // etcd's own word of a refusal, where one was met on the way, names no password.
    for (const secret of ['another-one', ...Object.values(PASSWORDS)]) {
      assert.ok(!log.lines.join('\n').includes(secret), log.lines.join('\n'));
    }
  });
});
