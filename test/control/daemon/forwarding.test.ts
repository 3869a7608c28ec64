/** What a running daemon says of a host that does not forward; it changes nothing there. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { Forwarding } from '../../../src/control/daemon/forwarding.js';
import type { HostError } from '../../../src/control/host/errors.js';
import { lineOf } from '../../../src/control/runtime.js';
import type { Status } from '../../../src/operate/status/status.js';
import { plant } from '../host/fakes.js';
import { FakeHost, HOST_GW } from './fakes/fake-host.js';

const DIRECT = '{"Network":"10.10.0.0/16","Backend":{"Type":"vxlan","DirectRouting":true}}';

function set(host: FakeHost, key: string, value: string): void {
  plant(host.proc, { [`sys/net/ipv4/${key}`]: `${value}\n` });
}

/** Each as the log has it: the text, and what to type. */
async function faults(host: FakeHost, name = 'flannel.1'): Promise<string> {
  const { findings } = (await host.status(name)) as Status;
  const own = findings.filter(({ code }) => code === 'forwarding');
  return own.map(lineOf).join('\n');
}

test('a host that is off is a fault from the first moment on, and stays off', async (t) => {
  const host = new FakeHost(t);
  set(host, 'ip_forward', '0');
  set(host, 'conf/default/forwarding', '0');
  await host.started();
  assert.match(await faults(host), /^this host does not forward IPv4/);
  await host.clock.pass(6_000);
  assert.equal(host.log.matching(/^warn: this host does not forward/).length, 1);
  assert.equal(fs.readFileSync(`${host.proc}/sys/net/ipv4/ip_forward`, 'utf8'), '0\n');
  // Docker starts.
  set(host, 'ip_forward', '1');
  set(host, 'conf/default/forwarding', '1');
  await host.clock.pass(3_000);
  assert.equal(await faults(host), '');
  assert.equal(host.log.matching(/^info: over: this host does not forward/).length, 1);
  await host.lifecycle.leave(0, 'got SIGTERM');
  assert.deepEqual(host.journal('flannel.1'), ['file']);
});

test('a host that is off loses packets once there are containers, and not before', async (t) => {
  const host = new FakeHost(t);
  set(host, 'ip_forward', '0');
  set(host, 'conf/default/forwarding', '0');
  const told = async () => {
    const { findings, verdict } = (await host.status('flannel.1')) as Status;
    return [verdict.state, ...findings.map(({ code, severity }) => `${code} ${severity}`)];
  };
  await host.started();
  assert.deepEqual(await told(), ['well', 'forwarding warning']);
  host.runner.add('docker0', { addresses: ['10.10.64.1/24'] });
  set(host, 'conf/docker0/forwarding', '0');
  await host.clock.pass(3_000);
  assert.deepEqual(await told(), ['broken', 'forwarding error']);
  host.runner.delete('docker0');
  await host.clock.pass(3_000);
  assert.deepEqual(await told(), ['well', 'forwarding warning']);
});

test('a bridge that has our subnet is looked at as long as weft runs, others are not', async (t) => {
  const host = new FakeHost(t);
  host.runner.add('docker0', { addresses: ['10.10.64.1/24'] });
  host.runner.add('br-other', { addresses: ['172.18.0.1/16'] });
  set(host, 'conf/docker0/forwarding', '1');
  set(host, 'conf/br-other/forwarding', '0');
  set(host, 'conf/ens33/forwarding', '0');
  await host.started();
  assert.equal(await faults(host), '');
  set(host, 'conf/docker0/forwarding', '0');
  await host.clock.pass(3_000);
  assert.match(
    await faults(host),
    /^docker0 does not forward .*; do: sysctl -w \S+conf\.docker0\.forwarding=1 /,
  );
  host.runner.delete('docker0');
  await host.clock.pass(3_000);
  assert.equal(await faults(host), '');
});

test('what is routed past the tunnel comes in by the underlay: with DirectRouting, and host-gw', async (t) => {
  for (const [config, name] of [
    [DIRECT, 'flannel.1'],
    [HOST_GW, 'host-gw'],
  ] as const) {
    const host = new FakeHost(t);
    host.store.config = config;
    set(host, 'conf/ens33/forwarding', '0');
    await host.started();
    assert.match(
      await faults(host, name),
      /^ens33 does not forward .*; do: sysctl -w \S+conf\.ens33\.forwarding=1 /,
    );
    set(host, 'conf/ens33/forwarding', '1');
    await host.clock.pass(3_000);
    assert.equal(await faults(host, name), '');
  }
});

test('rp_filter is strict where one of both is 1 and none is 2; it matters past the tunnel alone', async (t) => {
  const said = async (all: string, own: string, underlay: string | undefined) => {
    const host = new FakeHost(t);
    set(host, 'conf/all/rp_filter', all);
    set(host, 'conf/flannel.1/rp_filter', own);
    const { proc } = host;
    const options = { ip: { query: async () => [] }, proc, subnet: '10.10.64.0/24' };
    const member = new Forwarding({ ...options, tunnel: 'flannel.1', direct: () => underlay });
    return await member.reconcile().then(
      () => '',
      ({ message, cure }: HostError) =>
        `${member.kind.severity}: ${lineOf({ text: message, cure })}`,
    );
  };
  const strict =
    /^error: flannel\.1 drops packets .*; do: sysctl -w net\/ipv4\/conf\/flannel\.1\/rp_filter=2 /;
  assert.match(await said('1', '0', 'ens33'), strict);
  assert.match(await said('0', '1', 'ens33'), strict);
  for (const [all, own] of ['21', '12', '00', '02'] as const) {
    assert.equal(await said(all!, own!, 'ens33'), '');
  }
  assert.equal(await said('1', '1', undefined), '');
});
