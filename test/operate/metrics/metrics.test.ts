/** The exposition, and that dashboard and alert rules ask for what stands in it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { DROP_NAMES } from '../../../src/dataplane/forward/drops.js';
import { Metrics } from '../../../src/operate/metrics/metrics.js';
import type { Answer, Status } from '../../../src/operate/status/status.js';
import { fullStatus } from '../status/full.js';

const MONITORING = new URL('../../../../packaging/monitoring/', import.meta.url);
const USAGE = () => ({ residentBytes: 70_000_000, cpuSeconds: 1.5 });

const scrape = async (answer: Answer): Promise<string> =>
  (await new Metrics(() => answer, USAGE).scrape()).body;

const promtool = process.env.PROMTOOL ?? 'promtool';
const hasPromtool = spawnSync(promtool, ['--version']).error === undefined;
const skip = hasPromtool ? false : 'promtool is missing (it is in the package prometheus)';

/** The lines of a metric, without its name. */
function linesOf(body: string, name: string): string[] {
  return body
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .map((line) => line.slice(name.length));
}

test('what the status says stands there in numbers', async () => {
  const body = await scrape(fullStatus);
  assert.deepEqual(linesOf(body, 'weft_build_info'), ['{version="0.1.0",commit="abc1234"} 1']);
  assert.deepEqual(linesOf(body, 'weft_verdict'), [
    ...['{state="well"} 0', '{state="impaired"} 0', '{state="broken"} 1'],
  ]);
  assert.deepEqual(linesOf(body, 'weft_findings'), ['{severity="error",code="underlay-lost"} 1']);
  assert.deepEqual(linesOf(body, 'weft_peers'), [' 2']);
  assert.deepEqual(linesOf(body, 'weft_lease_expires_in_seconds'), [' 86000']);
  assert.deepEqual(linesOf(body, 'weft_lane_running'), ['{lane="0"} 1', '{lane="1"} 0']);
  assert.deepEqual(linesOf(body, 'weft_lane_busy_seconds_total'), [
    ...['{lane="0"} 1.5', '{lane="1"} 1.5'],
  ]);
  assert.ok(
    linesOf(body, 'weft_packets_total').includes('{direction="outbound",point="out"} 1161463'),
  );
  const drops = linesOf(body, 'weft_dropped_packets_total');
  assert.equal(drops.length, DROP_NAMES.length - 1, 'a reason that did not occur is 0, not absent');
  assert.ok(drops.includes('{reason="unknown_sender"} 1200'));
  assert.ok(drops.includes('{reason="tun_refused"} 0'));
  assert.deepEqual(linesOf(body, 'weft_peer_path_mtu_bytes'), [
    ...['{peer="192.168.56.12"} 1500', '{peer="203.0.113.250"} 1400'],
  ]);
  assert.ok(
    linesOf(body, 'weft_host_queue_events_total').includes('{kind="udp_rcvbuf_errors"} 3000'),
  );
});

test('two leases with one public IP are one peer, and what it sent is counted once', async () => {
  const one = fullStatus.peers.find(({ seen }) => seen.sentPackets > 0)!;
  const peers = [one, { ...one, subnet: '10.5.99.0/24' }];
  const alone = await scrape({ ...fullStatus, peers: [one] });
  const both = await scrape({ ...fullStatus, peers });
  for (const name of ['packets_total', 'bytes_total', 'dropped_packets_total']) {
    const lines = linesOf(both, `weft_peer_${name}`);
    assert.deepEqual(lines, linesOf(alone, `weft_peer_${name}`), name);
  }
  assert.match(both, /^weft_peer_packets_total\{.*\} [1-9]/m);
});

test('a round trip is in seconds, as all times are', async () => {
  const [first] = fullStatus.peers;
  const peers = [{ ...first!, health: { ...first!.health, roundTripMs: 12 } }];
  const body = await scrape({ ...fullStatus, peers });
  assert.deepEqual(linesOf(body, 'weft_peer_round_trip_seconds'), ['{peer="192.168.56.12"} 0.012']);
});

test('while it starts it is not ready, and nothing else is made up', async () => {
  const body = await scrape({
    ...{ version: '1', build: null, pid: 1, uptimeSeconds: 2, waitingFor: 'etcd' },
  });
  assert.deepEqual(linesOf(body, 'weft_ready'), [' 0']);
  assert.deepEqual(linesOf(body, 'weft_verdict'), []);
});

test('thousands of peers: those with most traffic, and how many there are', async () => {
  const [peer] = fullStatus.peers;
  const peers = Array.from({ length: 5000 }, (_, i) => ({
    ...peer!,
    publicIp: `10.0.${i >> 8}.${i & 255}`,
    seen: { ...peer!.seen, sentBytes: i },
  }));
  const body = await scrape({ ...fullStatus, peers } as Status);
  const heard = linesOf(body, 'weft_peer_path_mtu_bytes');
  assert.equal(heard.length, 250);
  assert.ok(heard[0]!.startsWith('{peer="10.0.19.135"}'), heard[0]);
  assert.deepEqual(linesOf(body, 'weft_peers'), [' 5000']);
  assert.ok(body.length < 300_000);
});

test('what another scrape finds is not added to the one before', async () => {
  const metrics = new Metrics(() => fullStatus, USAGE);
  const first = await metrics.scrape();
  assert.deepEqual(await metrics.scrape(), first);
});

test('promtool has no word against it', { skip }, async () => {
  const input = await scrape(fullStatus);
  const { status, stderr, stdout } = spawnSync(promtool, ['check', 'metrics'], { input });
  assert.equal(status, 0, `${stdout}${stderr}`);
});

test('the alert rules are sound', { skip }, () => {
  const file = new URL('weft.rules.yml', MONITORING).pathname;
  const { status, stderr, stdout } = spawnSync(promtool, ['check', 'rules', file]);
  assert.equal(status, 0, `${stdout}${stderr}`);
  assert.match(`${stdout}`, /SUCCESS: 8 rules found/);
});

test('dashboard and rules ask for metrics and labels that are there', async () => {
  const body = await scrape(fullStatus);
  const texts = ['weft.rules.yml', 'grafana-dashboard.json'].map((name) =>
    fs.readFileSync(new URL(name, MONITORING), 'utf8'),
  );
  const dashboard = JSON.parse(texts[1]!) as { panels: { targets: { expr: string }[] }[] };
  const asked = [
    texts[0]!,
    ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
  ].join('\n');
  const names = new Set(asked.match(/\b(?:weft|process)_[a-z_]+\b/g));
  assert.ok(names.size > 12);
  for (const name of names) {
    assert.match(body, new RegExp(`^# TYPE ${name} `, 'm'), name);
  }
  for (const [, name = '', selector = ''] of asked.matchAll(/\b(weft_[a-z_]+)\{([^}]*)\}/g)) {
    for (const [, label = ''] of selector.matchAll(/(\w+)(?:=~|!~|=|!=)"/g)) {
      if (label === 'instance' || label === 'job') continue;
      assert.ok(
        linesOf(body, name).some((line) => line.includes(`${label}="`)),
        `${name}: ${label}`,
      );
    }
  }
});
