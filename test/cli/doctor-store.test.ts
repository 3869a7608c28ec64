/** `weft doctor` before a start: whatever etcd would refuse to a start is named, with what to type. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { lookAtStore } from '../../src/cli/doctor/store.js';
import type { Access } from '../../src/control/store/access.js';
import { EtcdStore } from '../../src/control/store/etcd.js';
import { Lines, realClock } from '../control/fakes.js';
import { EtcdServer, noEtcd } from '../control/store/etcd-server.js';
import { SecureEtcd } from '../control/store/secure-etcd.js';

const CONFIG = '{"Network":"10.10.0.0/16","Backend":{"Type":"vxlan"}}';

describe('what doctor learns of etcd', { skip: noEtcd }, () => {
  const servers: { end(): Promise<void> }[] = [];
  after(async () => {
    for (const server of servers) await server.end();
  });

  async function serve(): Promise<EtcdServer> {
    const server = await EtcdServer.start();
    servers.push(server);
    server.ctl('put', '/net/config', CONFIG);
    return server;
  }

  /** Each finding as `severity code: text; do: cure`, without the endpoint. */
  async function found(
    endpoint: string,
    access: Access = {},
    publicIp?: string,
  ): Promise<string | undefined> {
    const [first, ...more] = await all(endpoint, access, publicIp);
    assert.deepEqual(more, []);
    return first;
  }

  async function all(endpoint: string, access: Access, publicIp?: string): Promise<string[]> {
    const options = { endpoints: [endpoint], prefix: '/net', clock: realClock, log: new Lines() };
    const openStore = async () => new EtcdStore({ ...options, readAccess: () => access });
    const { looks } = await lookAtStore({
      clock: realClock,
      random: Math.random,
      openStore,
      publicIp,
    });
    return looks
      .flatMap(({ findings }) => findings)
      .map(({ severity, code, text, cure }) => `${severity} ${code}: ${text}; do: ${cure}`)
      .map((told) => told.replaceAll(endpoint, 'URL'));
  }

  const alarm = async ({ endpoint }: EtcdServer, action: string, name: string) => {
    const ask = async (what: string, body: object) => {
      const text = JSON.stringify(body);
      const answer = await fetch(`${endpoint}/v3/maintenance/${what}`, {
        method: 'POST',
        body: text,
      });
      return (await answer.json()) as { header: { member_id: string } };
    };
    const { header } = await ask('status', {});
    await ask('alarm', { action, memberID: header.member_id, alarm: name });
  };

  test('all is well, and nothing was written', async () => {
    const server = await serve();
    const revision = () => JSON.parse(server.ctl('get', 'x', '-w', 'json')).header.revision;
    const before = revision();
    assert.equal(await found(server.endpoint), undefined);
    assert.equal(revision(), before);
    assert.equal(server.ctl('get', '--prefix', '/net/subnets/'), '');
    assert.equal(server.ctl('lease', 'list').trim(), 'found 0 leases');
  });

  test('an alarm: what the running weft says of it, an error to a host without a lease', async () => {
    const server = await serve();
    server.ctl('put', '/net/subnets/10.10.7.0-24', lease(11));
    for (const name of ['NOSPACE', 'CORRUPT']) {
      await alarm(server, 'ACTIVATE', name);
      const told = await found(server.endpoint, {}, '192.168.56.12');
      const words = `^error etcd-alarm: etcd has raised the alarm ${name} .*; do: etcdctl --endpoints=URL `;
      assert.match(told ?? '', new RegExp(words));
      const held = await found(server.endpoint, {}, '192.168.56.11');
      assert.match(held ?? '', /^warning etcd-alarm/, 'its lease is kept alive');
      await alarm(server, 'DEACTIVATE', name);
      assert.equal(await found(server.endpoint), undefined);
    }
  });

  const lease = (last: number, more = '') =>
    `{"PublicIP":"192.168.56.${last}"${more},"BackendType":"vxlan",` +
    `"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:${last}"}}`;

  test('leases and a config that a running weft finds fault with', async () => {
    const server = await serve();
    const told = async (publicIp = '192.168.56.10') => all(server.endpoint, {}, publicIp);
    server.ctl('put', '/net/subnets/10.10.7.0-24', lease(11));
    assert.deepEqual(await told(), []);

    server.ctl('put', '/net/subnets/10.10.7.128-25', lease(12));
    server.ctl('put', '/net/subnets/10.10.8.0-24', 'not JSON');
    server.ctl('put', '/net/config', CONFIG.replace('{', '{"IPv6SubnetLen":"x",'));
    const [config, ...leases] = await told();
    assert.match(config!, /^warning config-harmful: .* put '?\/net\/config'? '/);
    const [part, text] = leases;
    assert.equal(leases.length, 2);
    assert.match(
      part!,
      /^error lease-harmful: lease 10\.10\.7\.128-25 is a part of the lease 10\.10\.7\.0-24;/,
    );
    assert.match(text!, /^error lease-harmful: lease 10\.10\.8\.0-24 is not used: .*flanneld/);
    for (const one of leases) assert.match(one, /; do: .* del \/net\/subnets\/10\.10\./);
    assert.equal((await told('192.168.56.11')).length, 3, 'of a host that has a lease, the same');
  });

  test('a network without a subnet for this host, where it has none', async () => {
    const server = await serve();
    const small = '{"Network":"10.10.0.0/22","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
    server.ctl('put', '/net/config', small);
    for (const n of [1, 2]) server.ctl('put', `/net/subnets/10.10.${n}.0-24`, lease(10 + n));
    const told = (publicIp: string) => found(server.endpoint, {}, publicIp);
    assert.equal(await told('192.168.56.10'), undefined, 'one is free');
    server.ctl('put', '/net/subnets/10.10.3.0-24', lease(13));
    const full =
      /^error out-of-subnets: out of subnets: every \/24 from 10\.10\.1\.0 to 10\.10\.3\.0/;
    assert.match((await told('192.168.56.10')) ?? '', full);
    assert.equal(await told('192.168.56.13'), undefined, 'its own');
  });

  test('certificates that end soon or are over, whether etcd can be reached or not', async () => {
    const server = await serve();
    const day = 24 * 3600 * 1000;
    const ends = (days: number) => ({
      certificates: [
        {
          name: '-etcd-certfile=a.pem',
          begins: new Date(0),
          ends: new Date(Date.now() + days * day),
        },
      ],
    });
    assert.equal(await found(server.endpoint, ends(15)), undefined);
    const soon = (await found(server.endpoint, ends(3.5))) ?? '';
    assert.match(soon, /^warning tls-expiry: -etcd-certfile=a\.pem ends in 3 days/);
    await server.halt();
    const [away, over] = await all(server.endpoint, ends(-1));
    assert.match(away!, /^error store-away/);
    assert.match(over!, /^error tls-expiry: -etcd-certfile=a\.pem has ended 24 h/);
  });

  test('a user that is missing, unknown, or may not read or write', async () => {
    const server = await serve();
    server.ctl('user', 'add', 'root:r');
    server.ctl('user', 'grant-role', 'root', 'root');
    for (const [user, kind, key] of [
      ['reader', 'read', '/net'],
      ['config', 'read', '/net/config'],
      ['node', 'readwrite', '/net/subnets/'],
    ] as const) {
      server.ctl('role', 'add', user);
      server.ctl('role', 'grant-permission', user, kind, key, '--prefix');
      server.ctl('user', 'add', `${user}:${user}`);
      server.ctl('user', 'grant-role', user, user);
    }
    server.ctl('user', 'grant-role', 'node', 'config');
    server.ctl('auth', 'enable');
    const as = (username: string, password = username) =>
      found(server.endpoint, { auth: { username, password } });
    assert.match(
      (await found(server.endpoint)) ?? '',
      /^error store-refuses: .*; do: .* -etcd-username=/,
    );
    assert.match(
      (await as('node', 'x')) ?? '',
      /^error store-refuses: .*; do: .* user passwd USER/,
    );
    const grant = 'etcdctl --endpoints=URL role grant-permission ROLE';
    const cure = `; do: ${grant} read /net/config; ${grant} readwrite /net/subnets/ --prefix`;
    for (const [user, what] of [
      ['config', 'list the leases'],
      ['reader', 'write /net/subnets/10.10.1.0-24'],
    ] as const) {
      const why = 'etcdserver: permission denied';
      assert.equal(await as(user), `error store-refuses: URL refuses to ${what}: ${why}${cure}`);
    }
    assert.equal(await as('node'), undefined);
  });

  test('TLS on the wrong side, and an authority that is not known', async () => {
    const plain = await serve();
    const https = plain.endpoint.replace('http:', 'https:');
    const tls = await SecureEtcd.start();
    servers.push(tls);
    tls.ctl('put', '/net/config', CONFIG);
    const http = tls.endpoint.replace('https:', 'http:');
    const cure = (told = '') => told.replace(/^error store-away: .*; do: /, '');
    assert.equal(
      cure(await found(https, { credentials: {} })),
      `-etcd-endpoints=${plain.endpoint}`,
    );
    assert.match(cure(await found(http)), new RegExp(`^-etcd-endpoints=${tls.endpoint} `));
    assert.match(cure(await found(tls.endpoint, { credentials: {} })), / -etcd-cafile=FILE$/);
    const rootCertificate = fs.readFileSync(tls.certificates.ca);
    assert.equal(await found(tls.endpoint, { credentials: { rootCertificate } }), undefined);
  });

  test('a member without a vote, one without a majority, one that stands still, none', async () => {
    const server = await serve();
    const learner = await EtcdServer.prepare();
    servers.push(learner);
    const added = server.ctl('member', 'add', 'b', '--learner', `--peer-urls=${learner.peer}`);
    const cluster = `--initial-cluster=test=${server.peer},b=${learner.peer}`;
    await learner.run('--name=b', cluster, '--initial-cluster-state=existing');
    assert.match((await found(learner.endpoint)) ?? '', /; do: name members that have a vote: /);
    assert.equal(await found(server.endpoint), undefined);

    server.ctl('member', 'remove', /Member +(\w+) added/.exec(added)![1]!);
    server.ctl('member', 'add', 'c', '--peer-urls=http://127.0.0.1:9');
    await sleep(2_000);
    const status = /^error store-away: .*; do: etcdctl --endpoints=URL endpoint status -w table /;
    assert.match((await found(server.endpoint)) ?? '', status);
    server.signal('SIGSTOP');
    assert.match((await found(server.endpoint)) ?? '', status);
    await server.halt();
    assert.match(
      (await found(server.endpoint)) ?? '',
      /ECONNREFUSED.*; do: start etcd, or name where/,
    );
  });
});
