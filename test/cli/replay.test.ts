import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CAPTURES, hex, pcap, ROOT, temporaryFolder } from '../operate/capture/captures.js';
import { Pcapng } from '../operate/capture/pcapng.js';

const folder = temporaryFolder();
const NETWORK = path.join(CAPTURES, 'network.json');
const TUN = path.join(CAPTURES, 'tun.pcap');

function weft(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const argv = [path.join(ROOT, 'dist/src/cli/weft.js'), 'replay', ...args];
  const done = spawnSync(process.execPath, argv, { encoding: 'utf8', timeout: 30_000 });
  return { code: done.status, stdout: done.stdout, stderr: done.stderr };
}

function fileOf(name: string, content: Uint8Array | string): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, content);
  return file;
}

describe('weft replay', () => {
  it('tells the summary alone when no verdicts are asked for', () => {
    const { code, stdout, stderr } = weft(TUN, '-routes', NETWORK, '-as', '192.168.56.11');
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^\d+ records: \d+ wrapped into \d+ datagrams, 0 unwrapped/);
    assert.ok(stdout.split('\n').length <= 4);
  });

  it('writes JSON lines, the summary last', () => {
    const run = () => weft(TUN, '--routes', NETWORK, '--as', '192.168.56.11', '--json');
    const { code, stdout } = run();
    assert.equal(code, 0);
    const lines = stdout.trimEnd().split('\n');
    const documents = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const { summary } = documents.pop() as { summary: Record<string, number> };
    assert.equal(documents.length, summary.records);
    assert.equal(documents.filter((d) => d.verdict === 'wrapped').length, summary.wrapped);
    assert.match(String(documents[0]?.time), /^\d{10}\.\d{6}$/);
    assert.equal(run().stdout, stdout);
  });

  it('keeps what came before a broken end, and says so with exit code 1', () => {
    const cut = fs.readFileSync(TUN).subarray(0, -1);
    const out = path.join(folder, 'cut.out.pcap');
    const args = ['-routes', NETWORK, '-as', '192.168.56.11', '-o', out];
    const { code, stdout, stderr } = weft(fileOf('cut.pcap', cut), ...args);
    assert.equal(code, 1);
    assert.match(stdout, /^\d+ records/);
    assert.match(stderr, /^weft replay: .*cut\.pcap: file ends inside record \d+ /);
    assert.ok(fs.statSync(out).size > 1000);
  });

  it('counts records whose lengths contradict each other', () => {
    const odd = pcap({ linkType: 101, records: [{ bytes: Buffer.alloc(36, 0x45), original: 20 }] });
    const args = ['-routes', NETWORK, '-as', '192.168.56.11'];
    const { code, stdout } = weft(fileOf('odd.pcap', odd), ...args);
    assert.equal(code, 0);
    assert.match(stdout, /odd: 1 record with more bytes than the packet had/);
  });

  it('leaves no output file behind when the capture is none', () => {
    const out = path.join(folder, 'none.out.pcap');
    const args = ['-routes', NETWORK, '-as', '192.168.56.11', '-o', out];
    for (const [bytes, why] of [
      ['hello', /is not a capture: its content is text/],
      [pcap({ linkType: 105 }), /link type 105/],
      [hex('0a0d0d0a'), /ends inside the block at offset 0/],
    ] as const) {
      const { code, stderr } = weft(fileOf('none.pcap', bytes), ...args);
      assert.equal(code, 1);
      assert.match(stderr, why);
      assert.equal(fs.existsSync(out), false);
    }
  });

  it('says what is wrong with the command line (2) or the network (1)', () => {
    const broken = fileOf('broken.json', '{"config": {"Network": "10.10.0.0/16"');
    const empty = fileOf('empty.json', '{"subnets": {}}');
    const wrong: readonly (readonly [code: number, why: RegExp, ...args: string[]])[] = [
      [2, /no capture/, '-routes', NETWORK, '-as', '192.168.56.11'],
      [2, /-routes is missing/, TUN, '-as', '192.168.56.11'],
      [2, /-as is missing/, TUN, '-routes', NETWORK],
      [2, /192\.168\.56/, TUN, '-routes', NETWORK, '-as', '192.168.56'],
      [2, /one capture at a time/, TUN, TUN, '-routes', NETWORK, '-as', '192.168.56.11'],
      [2, /-loop -1/, TUN, '-loop', '-1', '-routes', NETWORK, '-as', '192.168.56.11'],
      [2, /both be standard input/, '-', '-routes', '-'],
      [2, /-mtu 9/, TUN, '-mtu', '9', '-routes', NETWORK, '-as', '192.168.56.11'],
      [1, /there are: 192\.168\.56\.11, /, TUN, '-routes', NETWORK, '-as', '192.168.56.99'],
      [1, /broken\.json/, TUN, '-routes', broken, '-as', '192.168.56.11'],
      [1, /no "config"/, TUN, '-routes', empty, '-as', '192.168.56.11'],
      [1, /no such file/, '/nowhere.pcap', '-routes', NETWORK, '-as', '192.168.56.11'],
      [1, /nowhere/, TUN, '-routes', NETWORK, '-as', '192.168.56.11', '-o', '/nowhere/out.pcap'],
    ];
    for (const [code, why, ...args] of wrong) {
      const done = weft(...args);
      assert.match(done.stderr, why);
      assert.equal(done.code, code, done.stderr);
      assert.doesNotMatch(done.stderr, /\n\s+at /);
    }
  });

  it('writes the whole output file when nobody reads the verdicts', async () => {
    const out = path.join(folder, 'unread.pcap');
    const argv = [path.join(ROOT, 'dist/src/cli/weft.js'), 'replay', TUN, '-verdicts'];
    argv.push('-routes', NETWORK, '-as', '192.168.56.11', '-o', out);
    const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let stderr = '';
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    const [code] = await once(child, 'close');
    assert.deepEqual([code, stderr], [0, '']);
    const golden = fs.readFileSync(path.join(CAPTURES, 'tun.out.pcap'));
    assert.ok(fs.readFileSync(out).equals(golden));
  });

  it('never writes over its input', () => {
    const copy = fileOf('copy.pcap', fs.readFileSync(TUN));
    const { code, stderr } = weft(copy, '-routes', NETWORK, '-as', '192.168.56.11', '-o', copy);
    assert.equal(code, 2);
    assert.match(stderr, /-o is the capture itself/);
    assert.ok(fs.readFileSync(copy).equals(fs.readFileSync(TUN)));
  });

  it('reads standard input as it reads a file', () => {
    const args = ['-routes', NETWORK, '-as', '192.168.56.11', '-verdicts'];
    const argv = [path.join(ROOT, 'dist/src/cli/weft.js'), 'replay', '-', ...args];
    const piped = spawnSync('sh', ['-c', 'cat "$0" | "$@"', TUN, process.execPath, ...argv], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    assert.equal(piped.stderr, '');
    assert.equal(piped.stdout, weft(TUN, ...args).stdout);
  });

  it('tells that no record could be read, with exit code 1', () => {
    const file = new Pcapng(false);
    const blocks = [file.section(), file.interface(105), file.packet(0, 1n, hex('4500'))];
    const name = fileOf('wifi.pcapng', Buffer.concat(blocks));
    const { code, stdout, stderr } = weft(name, '-routes', NETWORK, '-as', '192.168.56.11');
    assert.equal(code, 1);
    assert.match(stdout, /^1 record: .*\nnot ours: link_type 1\n/);
    assert.match(stderr, /wifi\.pcapng: no record has a link type that weft reads/);
  });

  it('runs what the lane takes again and tells packets a second', () => {
    const args = [TUN, '-routes', NETWORK, '-as', '192.168.56.11', '-loop', '3'];
    const text = weft(...args);
    assert.deepEqual([text.code, text.stderr], [0, '']);
    assert.match(text.stdout, /\nloop: \d+ packets in \d+\.\d{3} s, \d+ packets a second, .*\n$/);
    const lines = weft(...args, '-json')
      .stdout.trimEnd()
      .split('\n');
    const { loop } = JSON.parse(lines.pop()!) as { loop: Record<string, number> };
    const { summary } = JSON.parse(lines.pop()!) as { summary: { lane: Record<string, number> } };
    assert.equal(loop.rounds, 3);
    assert.equal(loop.packets, 3 * summary.lane.outbound_in_packets!);
    const none = weft(fileOf('none.pcap', pcap()), ...args.slice(1));
    assert.match(none.stdout, /^0 records.*\nloop: the lane takes none of it\n$/s);
  });

  it('waits for whoever reads the verdicts, and keeps none of them', async () => {
    const packet = fs.readFileSync(TUN).subarray(40, 100);
    const records = Array.from({ length: 200_000 }, () => ({ bytes: packet }));
    const file = fileOf('many.pcap', pcap({ linkType: 101, records }));
    const argv = [path.join(ROOT, 'dist/src/cli/weft.js'), 'replay', file, '-verdicts'];
    argv.push('-routes', NETWORK, '-as', '192.168.56.11');
    const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    await sleep(3_000);
    const status = fs.readFileSync(`/proc/${child.pid}/status`, 'utf8');
    const most = Number(/VmHWM:\s+(\d+) kB/.exec(status)![1]) / 1024;
    let lines = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      for (const byte of chunk) if (byte === 10) lines += 1;
    });
    const [code] = await once(child, 'close');
    assert.deepEqual([code, lines], [0, 200_002]);
    assert.ok(most < 180, `it took ${most} MiB`);
  });
});
