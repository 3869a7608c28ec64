/**
 * What `weft status` and its views tell of a running weft beside a kernel peer.
 *
 *   xbox1 ─ host1 (weft) ═ switch, etcd ═ host2 (kernel) ─ xbox2
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Status } from '../../src/operate/status/status.js';
import { type Overlay, openOverlay, ping } from './overlay.js';

const lacks = labLacks({ programs: ['ping', 'etcd', 'ethtool', 'script'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('weft status', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;

  before(async () => {
    overlay = await openOverlay(['weft', 'kernel'], true);
    await ping(overlay.containers[0], overlay.containers[1]);
  });
  after(() => overlay?.close());

  const weft = (...args: string[]) =>
    overlay.hosts[0].run([process.execPath, WEFT, ...args], { mayFail: true });
  const json = async (...args: string[]) =>
    JSON.parse((await weft('status', '-json', ...args)).stdout);

  test('the verdict is the first line, the exit code goes with it', async () => {
    const { code, stdout } = await weft('status');
    assert.equal(code, 0);
    assert.match(stdout, /^well {6}1 peer\nweft /);
    assert.ok(!stdout.includes('\x1b'), 'no colours in a pipe');
    const { schema, state, verdict, findings } = await json();
    assert.deepEqual([schema, state, verdict.state, findings], [1, 'running', 'well', []]);
    const { setUp }: Pick<Status, 'setUp'> = await json();
    assert.deepEqual([setUp.forwarding, setUp.health], [true, null]);
    assert.match(stdout, new RegExp(`^file {6}${setUp.subnetFile}$`, 'm'));
    assert.match(stdout, /^forwards {2}IPv4$/m);
    assert.match(stdout, /^rules {5}(?:none asked for|[a-z, ]+, by iptables)$/m);
  });

  test('in colours on a terminal, unless NO_COLOR is set', async () => {
    const status = `${process.execPath} ${WEFT} status`;
    const run = async (before: string) =>
      (await overlay.hosts[0].run(['script', '-qec', `${before} ${status}`, '/dev/null'])).stdout;
    const coloured = await run('env -u NO_COLOR TERM=xterm');
    assert.ok(coloured.startsWith('\x1b[32mwell     \x1b[0m 1 peer'), JSON.stringify(coloured));
    assert.match(await run('NO_COLOR=1 TERM=xterm'), /^well {6}1 peer/);
  });

  test('peers: who, which way, what went both ways', async () => {
    const { stdout } = await weft('status', 'peers');
    assert.match(
      stdout,
      /^peers {5}public IP +subnet +health +round trip +way +path MTU +sent +heard +last heard$/m,
    );
    assert.match(
      stdout,
      /^ {10}192\.168\.56\.12 +10\.10\.201\.0\/24 +\w+ +(?:–|[\d.]+ ms) +tunnel +1500 +\d+ .* s ago$/m,
    );
    assert.deepEqual(Object.keys(await json('peers')), ['schema', 'state', 'verdict', 'peers']);
  });

  test('routes: our own subnet and the peer', async () => {
    const { stdout } = await weft('status', 'routes');
    assert.match(stdout, /^ {10}10\.10\.\d+\.0\/24 +this host$/m);
    assert.match(stdout, /^ {10}10\.10\.201\.0\/24 +192\.168\.56\.12 +tunnel, by flannel\.1$/m);
  });

  test('drops: each reason with what it means, and a packet that was dropped for it', async () => {
    await overlay.containers[0].run(['ping', '-c1', '-W1', '10.10.99.9'], { mayFail: true });
    await overlay.hosts[0].run(['ping', '-c1', '-W1', '-I', 'flannel.1', '10.10.99.9'], {
      mayFail: true,
    });
    const { stdout } = await weft('status', 'drops');
    assert.match(stdout, /outbound_no_route +\d+ +to an address of the overlay that no host has/);
    assert.match(stdout, /outbound_no_route, \d+ s ago\n {12}ICMP 10\.10\.[\d.]+ > 10\.10\.99\.9 /);
    const { dropSamples }: Pick<Status, 'dropSamples'> = await json('drops');
    const [sample] = dropSamples.filter(({ reason }) => reason === 'outbound_no_route');
    assert.match(sample?.packet ?? '', /^ICMP 10\.10\.[\d.]+ > 10\.10\.99\.9 .*84 bytes$/);
    assert.deepEqual([sample?.direction, sample?.peer], ['out', null]);
  });

  test('route: what would become of a packet, and the exit code says it too', async () => {
    const ours = (await json()).lease.subnet.replace('.0/24', '');
    const far = await weft('status', 'route', overlay.containers[1].address);
    assert.equal(far.code, 0, far.stdout + far.stderr);
    assert.match(far.stdout, /^peer {6}10\.10\.201\.0\/24 is leased by 192\.168\.56\.12$/m);
    assert.match(far.stdout, /^kernel {4}by flannel\.1$/m);
    assert.match(far.stdout, /^size {6}up to 1450 bytes in one piece/m);
    assert.match(far.stdout, /^arrives {3}it would be sent to 192\.168\.56\.12/m);
    const here = await weft('status', 'route', `${ours}.9`);
    assert.match(here.stdout, /^arrives {3}delivered by docker0/m);
    const nobody = await weft('status', 'route', '10.10.99.9');
    assert.equal(nobody.code, 1);
    assert.match(nobody.stdout, /^LOST {6}no host has leased a subnet with 10\.10\.99\.9/m);
    const outside = await weft('status', 'route', '192.168.56.12');
    assert.match(outside.stdout, /^outside {3}192\.168\.56\.12 is not in the overlay network/m);
    assert.equal((await json('route', overlay.containers[1].address)).arrives, true);
  });

  test('route: a packet that a rule of policy routing leads away is lost, and by what', async () => {
    const host = overlay.hosts[0];
    await host.run(['ip', 'route', 'add', '10.0.0.0/8', 'via', '192.168.56.12', 'table', '52']);
    await host.run(['ip', 'rule', 'add', 'priority', '5270', 'lookup', '52']);
    const { code, stdout } = await weft('status', 'route', overlay.containers[1].address);
    await host.run(['ip', 'rule', 'del', 'priority', '5270']);
    assert.equal(code, 1);
    assert.match(stdout, /^LOST {6}the kernel sends it by ens33, not by flannel\.1/m);
    // The finding of it lasts until the next look at the rules.
    while (!(await weft('status')).stdout.startsWith('well')) await sleep(200);
  });

  test('watch: the first block is there soon, however long the interval', async () => {
    const { stdout, code } = await weft('status', '-watch', '-interval=3600', '-count=1');
    assert.equal(code, 0);
    assert.match(stdout, /^well {6}1 peer$/m);
  });

  test('watch: a block an interval, each with rates', async () => {
    const flow = ping(overlay.containers[0], overlay.containers[1]);
    const { stdout, code } = await weft('status', '-watch', '-interval=0.3', '-count=3');
    await flow;
    assert.equal(code, 0);
    const blocks = stdout.split('\n\n');
    assert.equal(blocks.length, 3, stdout);
    for (const block of blocks) {
      assert.match(block, /^well {6}1 peer$/m);
      assert.match(
        block,
        /^out {7}\S+ k?b\/s, [\d,]+ packets\/s; .* packets a send, tier segment$/m,
      );
      assert.match(block, /^lanes {5}\d+ % busy$/m);
      assert.match(block, /^ {10}192\.168\.56\.12 +10\.10\.201\.0\/24 /m);
    }
  });

  test('watch: a terminal is as it was afterwards, also after Ctrl-C', async () => {
    const command = `TERM=xterm timeout -s INT 2 ${process.execPath} ${WEFT} status -watch -interval=0.3`;
    const { stdout } = await overlay.hosts[0].run(['script', '-qc', command, '/dev/null'], {
      mayFail: true,
    });
    assert.ok(stdout.startsWith('\x1b[?1049h'), JSON.stringify(stdout.slice(0, 80)));
    assert.match(stdout, /192\.168\.56\.12/);
    assert.ok(stdout.trimEnd().endsWith('\x1b[?25h\x1b[?1049l'), JSON.stringify(stdout.slice(-80)));
  });

  test('watch: on a narrow terminal a picture has no more rows than that, and none is too long', async () => {
    const status = `${process.execPath} ${WEFT} status -watch -interval=0.3 -count=3`;
    const command = `unset NO_COLOR; stty rows 9 cols 30; TERM=xterm exec ${status}`;
    const { stdout } = await overlay.hosts[0].run(['script', '-qc', command, '/dev/null']);
    const bare = (picture: string): string =>
      picture
        .split('\x1b')
        .map((piece) => piece.replace(/^\[[\d;]*[mK]/, ''))
        .join('');
    const pictures = stdout
      .split('\x1b[H')
      .slice(1)
      .map((picture) => bare(picture.split('\x1b[J')[0]!).split('\r\n'))
      .filter((rows) => rows[0]!.startsWith('well'));
    assert.equal(pictures.length, 3, stdout);
    for (const rows of pictures) {
      // Behind the last line end the cursor has a row of its own.
      assert.deepEqual([rows.length, rows.at(-2), rows.at(-1)], [9, '…', ''], stdout);
      assert.equal(Math.max(...rows.map((row) => row.length)), 30, stdout);
    }
  });

  test('what cannot be meant is refused by name', async () => {
    for (const [args, words] of [
      [['peer'], /"peer" is none of: peers, routes, drops, route/],
      [['route'], /give an IPv4 address/],
      [['route', '10.5.0'], /give an IPv4 address/],
      [['peers', 'x'], /"x" is too much/],
      [['-watch', 'peers'], /-watch shows the whole/],
      [['-watch', '-interval=0'], /give 0\.1 to 3600 seconds/],
    ] as const) {
      const { code, stderr } = await weft('status', ...args);
      assert.equal(code, 2);
      assert.match(stderr, words);
    }
  });

  test('without a weft the JSON says so, too', async () => {
    const { stdout, code } = await overlay.hosts[1].run(
      [process.execPath, WEFT, 'status', '-json', '-run-dir=/run/nobody'],
      { mayFail: true },
    );
    const { schema, state, error } = JSON.parse(stdout);
    assert.deepEqual([schema, state, code], [1, 'none', 1]);
    assert.match(error, /no weft runs/);
  });
});
