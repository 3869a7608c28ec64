/** The etcd store against an etcd with TLS, with and without users. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, afterEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EtcdStore } from '../../../src/control/store/etcd.js';
import type { Change } from '../../../src/control/store/store.js';
import { Lines, realClock, until } from '../fakes.js';
import { noOpenssl } from './certificates.js';
import { freePort, noEtcd } from './etcd-server.js';
import { SecureEtcd } from './secure-etcd.js';

const PASSWORDS = { root: 'r00t-pass', weft: 'w3ft-pass' };
const AUTH = { username: 'weft', password: PASSWORDS.weft };
type Credentials = { rootCertificate: Buffer; privateKey?: Buffer; certChain?: Buffer };

describe('etcd with TLS and users', { skip: noEtcd || noOpenssl, timeout: 600_000 }, () => {
  const servers: SecureEtcd[] = [];
  const stores: EtcdStore[] = [];
  const log = new Lines();

  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
  });
  after(async () => {
    for (const server of servers) await server.end();
  });

  async function serve(...args: string[]): Promise<SecureEtcd> {
    const server = await SecureEtcd.start(...args);
    servers.push(server);
    return server;
  }

  function open(
    endpoints: readonly string[],
    credentials: Credentials | undefined,
    auth?: { username: string; password: string },
  ): EtcdStore {
    const store = new EtcdStore({
      endpoints,
      prefix: '/net',
      clock: realClock,
      log,
      callTimeoutMs: 3_000,
      readAccess: () => ({ ...(credentials && { credentials }), ...(auth && { auth }) }),
    });
    stores.push(store);
    return store;
  }

  const caOnly = ({ certificates }: SecureEtcd): Credentials => ({
    rootCertificate: fs.readFileSync(certificates.ca),
  });
  const withClient = (server: SecureEtcd): Credentials => ({
    ...caOnly(server),
    privateKey: fs.readFileSync(server.certificates.clientKey),
    certChain: fs.readFileSync(server.certificates.client),
  });

  /** Follows the leases; the keys that came, oldest first. */
  function follow(store: EtcdStore): string[] {
    const keys: string[] = [];
    store.follow({
      snapshot: ({ entries }) => {
        for (const { key } of entries) if (!keys.includes(key)) keys.push(key);
      },
      changes: (batch: readonly Change[]) => {
        for (const change of batch) if (change.type === 'put') keys.push(change.entry.key);
      },
    });
    return keys;
  }

  test('a CA alone is enough; another CA, or none, is refused with the reason', async () => {
    const server = await serve();
    server.ctl('put', '/net/config', 'here');
    const store = open([server.endpoint], caOnly(server));
    assert.equal(await store.readConfig(), 'here');
    assert.notEqual(await store.leases.create('10.10.1.0-24', 'x', 60), undefined);
    const keys = follow(store);
    await until(() => keys.length === 1);
    server.ctl('put', '/net/subnets/10.10.2.0-24', 'y');
    await until(() => keys.length === 2);

    const other = { rootCertificate: fs.readFileSync(server.certificates.otherCa) };
    await assert.rejects(
      open([server.endpoint], other).readConfig(),
      /unable to verify|self.signed/,
    );
    await assert.rejects(open([server.endpoint], undefined).readConfig(), /certificate/);
  });

  test('with -client-cert-auth a client certificate is needed, and taken', async () => {
    const server = await SecureEtcd.start();
    servers.push(server);
    await server.halt();
    await server.run('--client-cert-auth', `--trusted-ca-file=${server.certificates.ca}`);
    server.ctl('put', '/net/config', 'here');
    assert.equal(await open([server.endpoint], withClient(server)).readConfig(), 'here');
    await assert.rejects(
      open([server.endpoint], caOnly(server)).readConfig(),
      /certificate|closed|reset|socket|connect/i,
    );
  });

  test('user and password, several endpoints, and no word of the password', async () => {
    const server = await serve();
    server.ctl('put', '/net/config', 'here');
    const store = open(
      [`https://127.0.0.1:${await freePort()}`, server.endpoint],
      caOnly(server),
      AUTH,
    );
    assert.equal(await store.readConfig(), 'here', 'authentication is off: as without a password');
    const keys = follow(store);

    server.addUsers('/net', PASSWORDS);
    server.ctl('auth', 'enable');
    assert.equal(await store.readConfig(), 'here', 'switched on while it runs');
    assert.notEqual(await store.leases.create('10.10.1.0-24', 'x', 60), undefined);
    await until(() => keys.includes('10.10.1.0-24'));

    const fresh = open([server.endpoint], caOnly(server), AUTH);
    assert.equal(await fresh.readConfig(), 'here');
    await fresh.list();
    const wrong = open([server.endpoint], caOnly(server), { ...AUTH, password: 'not-this-one' });
    await assert.rejects(wrong.readConfig(), (error: Error) => {
      assert.match(error.message, /authentication failed, invalid user ID or password/);
      assert.doesNotMatch(error.message, /not-this-one/);
      return true;
    });
    await assert.rejects(
      open([server.endpoint], caOnly(server)).readConfig(),
      /user name is empty/,
    );
    assert.doesNotMatch(log.lines.join('\n'), /pass|not-this-one/);

    // Its tokens are void after a restart.
    await server.halt();
    await server.run();
    server.ctl('--user', `root:${PASSWORDS.root}`, 'put', '/net/subnets/10.10.2.0-24', 'y');
    await until(() => keys.includes('10.10.2.0-24'), 20_000);

    server.ctl('--user', `root:${PASSWORDS.root}`, 'auth', 'disable');
    assert.equal(await store.readConfig(), 'here', 'switched off while it runs');
    assert.equal(await fresh.readConfig(), 'here');
  });

  test('a token that expires while nothing is asked', async () => {
    const server = await serve('--auth-token-ttl=1');
    server.addUsers('/net', PASSWORDS);
    server.ctl('auth', 'enable');
    const store = open([server.endpoint], caOnly(server), AUTH);
    const keys = follow(store);
    assert.notEqual(await store.leases.create('10.10.1.0-24', 'x', 60), undefined);
    await sleep(3_500);
    assert.notEqual(await store.leases.create('10.10.2.0-24', 'x', 60), undefined);
    await until(() => keys.includes('10.10.2.0-24'));
  });

  test('tokens of another kind: they expire, and users change meanwhile', async () => {
    const server = await SecureEtcd.start();
    servers.push(server);
    await server.halt();
    const key = path.join(server.directory, 'jwt.key');
    const pub = path.join(server.directory, 'jwt.pub');
    execFileSync('openssl', ['genrsa', '-out', key, '2048'], { stdio: 'ignore' });
    execFileSync('openssl', ['rsa', '-in', key, '-pubout', '-out', pub], { stdio: 'ignore' });
    await server.run(`--auth-token=jwt,pub-key=${pub},priv-key=${key},sign-method=RS256,ttl=2s`);
    server.addUsers('/net', PASSWORDS);
    server.ctl('auth', 'enable');
    const store = open([server.endpoint], caOnly(server), AUTH);
    await store.list();
    // A token of this kind holds the revision of the users.
    server.ctl('--user', `root:${PASSWORDS.root}`, 'user', 'add', 'other:pw');
    await store.list();
    await sleep(3_000);
    await store.list();
  });
});
