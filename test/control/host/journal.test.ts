import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { down } from '../../../src/control/host/down.js';
import { Journal, readJournal } from '../../../src/control/host/journal.js';
import { readOwner } from '../../../src/control/host/owner.js';
import { routesInside } from '../../../src/control/host/route.js';
import { FakeRunner, plant, scratch } from './fakes.js';
import { FakeIptables } from './firewall/fake-iptables.js';

const SHOW = 'ip -j -d link show dev flannel.1';
const DELETE = 'ip link del dev flannel.1';
/** What an earlier weft recorded when it switched forwarding on. */
const SWITCHED = { kind: 'sysctl', path: 'net/ipv4/ip_forward', old: '0', wrote: '1' } as const;
const GONE = { code: 1, stderr: 'Device "flannel.1" does not exist.' };
const tun = (ifindex: number, persist = false) => ({
  stdout: JSON.stringify([{ ifindex, linkinfo: { info_kind: 'tun', info_data: { persist } } }]),
});

/** A /proc in which this process was started at `start`. */
function fakeProc(root: string, start: string, files: Record<string, string> = {}): string {
  // What follows the name: the state, then 49 more; the start is the 20th of all.
  const fields = Array.from({ length: 49 }, (_, i) => (i === 18 ? start : '0')).join(' ');
  plant(root, { [`proc/${process.pid}/stat`]: `${process.pid} (a) b) S ${fields}`, ...files });
  return path.join(root, 'proc');
}

function died(root: string): string {
  fs.rmSync(path.join(root, 'proc', String(process.pid)), { recursive: true });
  return path.join(root, 'proc');
}

test('the start time of a process is read past a name with parentheses', (t) => {
  const proc = fakeProc(scratch(t), '4711');
  assert.deepEqual(readOwner(process.pid, proc), { pid: process.pid, startTime: '4711' });
  assert.equal(readOwner(1, proc), null);
  assert.match(readOwner(process.pid)!.startTime, /^\d+$/);
});

test('everything is taken back, then there is nothing left to do', async (t) => {
  const root = scratch(t);
  const run = path.join(root, 'run');
  const subnet = path.join(root, 'subnet.env');
  const proc = fakeProc(root, '1');
  const journal = Journal.open('flannel.1', run, proc);
  journal.record({ kind: 'device', name: 'flannel.1', index: null });
  journal.record({ kind: 'device', name: 'flannel.1', index: 7 });
  journal.record({ kind: 'file', path: subnet, wrote: 'A=1\n' });
  fs.writeFileSync(subnet, 'A=1\n');
  assert.equal(readJournal(journal.file)!.entries.length, 2);
  assert.deepEqual(fs.readdirSync(run), ['flannel.1.json']);

  const runner = new FakeRunner({ [SHOW]: tun(7), [DELETE]: {} });
  const result = await down(runner, 'flannel.1', run, died(root));
  assert.deepEqual(result, {
    did: [
      `The file ${subnet} was removed.`,
      'The device flannel.1 was deleted.',
      `The journal ${journal.file} was removed.`,
    ],
    problems: [],
  });
  assert.ok(!fs.existsSync(subnet) && !fs.existsSync(journal.file));
  const again = await down(new FakeRunner(), 'flannel.1', run, proc);
  assert.match(again.did.join(), /Nothing to take back/);
});

test('firewall rules are entries of a table each; those that cannot be taken back stay', async (t) => {
  const root = scratch(t);
  const proc = fakeProc(root, '1');
  const journal = Journal.open('flannel.1', root, proc);
  const made = ['-A FORWARD -j FLANNEL-FWD', '-A FLANNEL-FWD -s 10.5.0.0/16 -j ACCEPT'];
  journal.record({ kind: 'iptables', table: 'nat', made: [] });
  journal.record({ kind: 'iptables', table: 'filter', made: [] });
  journal.record({ kind: 'iptables', table: 'filter', made });
  journal.record({ kind: 'nftables', table: 'ip flannel-ipv4', made: null });
  journal.forget({ kind: 'iptables', table: 'nat' });
  journal.forget({ kind: 'iptables', table: 'nat' });
  assert.deepEqual(readJournal(journal.file)!.entries, [
    { kind: 'iptables', table: 'filter', made },
    { kind: 'nftables', table: 'ip flannel-ipv4', made: null },
  ]);

  const host = new FakeIptables();
  host.restore('*filter\n:FLANNEL-FWD - [0:0]\n-A FORWARD -j LOG\nCOMMIT\n');
  host.restore(`*filter\n${made.join('\n')}\nCOMMIT\n`);
  const gone = died(root);
  const { did, problems } = await down(host, 'flannel.1', root, gone);
  assert.match(did[0]!, /rules in iptables' table filter were removed/);
  assert.match(problems[0]!, /nft table ip flannel-ipv4 could not be taken back: cannot run nft/);
  assert.equal(problems.length, 1);
  assert.deepEqual(host.chain('filter', 'FORWARD'), ['-j LOG']);
  assert.deepEqual(readJournal(journal.file)!.entries, [
    { kind: 'nftables', table: 'ip flannel-ipv4', made: null },
  ]);
});

test('a journal of a weft that knew one nft table is read as that', (t) => {
  const root = scratch(t);
  const journal = Journal.open('flannel.1', root, fakeProc(root, '1'));
  const content = JSON.parse(fs.readFileSync(journal.file, 'utf8'));
  content.entries = [{ kind: 'nftables', made: 'table' }];
  fs.writeFileSync(journal.file, JSON.stringify(content));
  assert.deepEqual(readJournal(journal.file)!.entries, [
    { kind: 'nftables', table: 'ip flannel-ipv4', made: 'table' },
  ]);
  content.entries = [{ kind: 'nftables', table: 'ip others', made: 'table' }];
  fs.writeFileSync(journal.file, JSON.stringify(content));
  assert.throws(() => readJournal(journal.file), /is broken/);
});

test('a flanneld that runs in the place of weft keeps what weft left', async (t) => {
  const root = scratch(t);
  const subnet = path.join(root, 'subnet.env');
  const journal = Journal.open('flannel.1', root, fakeProc(root, '1'));
  journal.record({ kind: 'file', path: subnet, wrote: 'A=1\n' });
  plant(root, { 'subnet.env': 'A=1\n', 'proc/self/net/dev': '', 'proc/41/comm': 'flanneld\n' });
  fs.mkdirSync(path.join(root, 'proc/41/net'));
  fs.linkSync(path.join(root, 'proc/self/net/dev'), path.join(root, 'proc/41/net/dev'));
  await assert.rejects(
    down(new FakeRunner(), 'flannel.1', root, died(root)),
    /flanneld runs as process 41 and has taken over what weft left for flannel\.1.*: rm .*flannel\.1\.json/,
  );
  assert.ok(fs.existsSync(subnet) && fs.existsSync(journal.file));
  fs.rmSync(path.join(root, 'proc/41'), { recursive: true });
  const { did } = await down(new FakeRunner(), 'flannel.1', root, path.join(root, 'proc'));
  assert.match(did[0]!, /subnet\.env was removed/);
});

test('what others changed since is left', async (t) => {
  const root = scratch(t);
  const subnet = path.join(root, 'subnet.env');
  const journal = Journal.open('flannel.1', root, fakeProc(root, '1'));
  journal.record({ kind: 'device', name: 'flannel.1', index: 7 });
  journal.record({ kind: 'file', path: subnet, wrote: 'A=1\n' });
  plant(root, { 'subnet.env': 'B=2\n' });
  const { did } = await down(new FakeRunner({ [SHOW]: tun(8) }), 'flannel.1', root, died(root));
  assert.match(did[0]!, /subnet.env was left/);
  assert.match(did[1]!, /flannel.1 was left: somebody else made it/);
  assert.equal(fs.readFileSync(subnet, 'utf8'), 'B=2\n');
});

test('what others put beside our lines in a file stays, and so do its mode and a link to it', async (t) => {
  const root = scratch(t);
  const subnet = path.join(root, 'subnet.env');
  const real = path.join(root, 'real.env');
  const take = async (text: string) => {
    const journal = Journal.open('flannel.1', root, fakeProc(root, '1'));
    journal.record({ kind: 'file', path: subnet, wrote: 'A=1\nB=2\n' });
    plant(root, { 'real.env': text });
    fs.chmodSync(real, 0o640);
    return (await down(new FakeRunner(), 'flannel.1', root, died(root))).did[0]!;
  };
  fs.symlinkSync('real.env', subnet);
  assert.match(await take('# mine\nA=1\nDOCKER_OPTS=x\nB=2\n'), /lines of weft were taken out of/);
  assert.equal(fs.readFileSync(subnet, 'utf8'), '# mine\nDOCKER_OPTS=x\n');
  assert.equal(fs.statSync(real).mode & 0o777, 0o640);
  assert.match(await take('A=1\nB=3\nDOCKER_OPTS=x\n'), /left: it is not as weft wrote it/);
  assert.match(await take('B=2\nA=1\n'), /was removed/);
  assert.ok(!fs.existsSync(real));
});

test('a device of another kind or of another process is left', async (t) => {
  const root = scratch(t);
  const cases: [number | null, object, RegExp][] = [
    [
      7,
      { stdout: '[{"ifindex":7,"linkinfo":{"info_kind":"vxlan"}}]' },
      /left: it is not a TUN but a vxlan/,
    ],
    [null, tun(7), /left: somebody else made it/],
    [null, GONE, /is gone/],
    [null, tun(7, true), /was deleted/],
  ];
  for (const [index, show, told] of cases) {
    const proc = fakeProc(root, '1');
    Journal.open('flannel.1', root, proc).record({ kind: 'device', name: 'flannel.1', index });
    const runner = new FakeRunner({ [SHOW]: show, [DELETE]: {} });
    assert.match((await down(runner, 'flannel.1', root, died(root))).did[0]!, told);
  }
});

test('nothing is taken while a process out of sight holds the device', async (t) => {
  const root = scratch(t);
  const journal = Journal.open('flannel.1', root, fakeProc(root, '1'));
  journal.record({ kind: 'device', name: 'flannel.1', index: 7 });
  journal.record({ kind: 'file', path: path.join(root, 'subnet.env'), wrote: 'A=1\n' });
  const [link] = JSON.parse(tun(7).stdout);
  const held = { stdout: JSON.stringify([{ ...link, flags: ['UP', 'LOWER_UP'] }]) };
  await assert.rejects(
    down(new FakeRunner({ [SHOW]: held }), 'flannel.1', root, died(root)),
    /flannel.1 is held open by a process that is not to be seen from here/,
  );
  assert.equal(readJournal(journal.file)!.entries.length, 2);
});

test('what fails stays in the journal for another try', async (t) => {
  const root = scratch(t);
  const journal = Journal.open('flannel.1', root, fakeProc(root, '1'));
  journal.record({ kind: 'device', name: 'flannel.1', index: 7 });
  journal.record({ kind: 'file', path: path.join(root, 'subnet.env'), wrote: 'A=1\n' });
  const stubborn = new FakeRunner({ [SHOW]: tun(7), [DELETE]: { code: 2, stderr: 'busy' } });
  const { problems } = await down(stubborn, 'flannel.1', root, died(root));
  assert.deepEqual(problems, ['The device flannel.1 could not be taken back: busy']);
  assert.deepEqual(readJournal(journal.file)!.entries, [
    { kind: 'device', name: 'flannel.1', index: 7 },
  ]);
  const { did } = await down(
    new FakeRunner({ [SHOW]: GONE }),
    'flannel.1',
    root,
    path.join(root, 'proc'),
  );
  assert.match(did.join(), /is gone.*was removed/);
});

test('nothing is taken from a live owner, and no second one opens', async (t) => {
  const root = scratch(t);
  const proc = fakeProc(root, '1');
  const { file } = Journal.open('flannel.1', root, proc);
  await assert.rejects(down(new FakeRunner(), 'flannel.1', root, proc), (error: Error) => {
    assert.match(error.message, new RegExp(`process ${process.pid}; stop it first`));
    return true;
  });
  assert.ok(fs.existsSync(file));
  // The same number with another start is another process.
  const later = fakeProc(root, '2');
  assert.match((await down(new FakeRunner(), 'flannel.1', root, later)).did.join(), /removed/);

  const parent = readOwner(process.ppid)!;
  plant(root, { 'flannel.1.json': JSON.stringify({ version: 1, owner: parent, entries: [] }) });
  assert.throws(() => Journal.open('flannel.1', root), new RegExp(`process id ${process.ppid}`));
});

test('forwarding that an earlier weft switched on is left, with the command', async (t) => {
  const told = [
    ['1', /^net\.ipv4\.ip_forward was left at 1: .*: sysctl -w net\.ipv4\.ip_forward=0$/],
    ['0', /^net\.ipv4\.ip_forward is 0 already\.$/],
    [undefined, /^net\.ipv4\.ip_forward is gone\.$/],
  ] as const;
  for (const [now, said] of told) {
    const root = scratch(t);
    const run = path.join(root, 'run');
    const journal = Journal.open('flannel.1', run, fakeProc(root, '1'));
    journal.record(SWITCHED);
    const forward = path.join(root, 'proc/sys/net/ipv4/ip_forward');
    if (now !== undefined) plant(root, { 'proc/sys/net/ipv4/ip_forward': `${now}\n` });
    const { did, problems } = await down(new FakeRunner(), 'flannel.1', run, died(root));
    assert.match(did[0]!, said);
    assert.deepEqual(problems, []);
    assert.ok(!fs.existsSync(journal.file), 'it is not asked for again');
    if (now !== undefined) assert.equal(fs.readFileSync(forward, 'utf8'), `${now}\n`);
  }
});

test('a broken journal is an error that names the file', async (t) => {
  const root = scratch(t);
  const file = path.join(root, 'flannel.1.json');
  const owner = { pid: 1, startTime: '1' };
  for (const broken of [
    '',
    '{"version":1',
    '[]',
    JSON.stringify({ version: 2, owner, entries: [] }),
    JSON.stringify({ version: 1, owner, entries: [{ kind: 'sysctl', path: 'x' }] }),
    JSON.stringify({ version: 1, owner, entries: [{ kind: 'house', path: 'x', wrote: '' }] }),
  ]) {
    fs.writeFileSync(file, broken);
    await assert.rejects(down(new FakeRunner(), 'flannel.1', root), (error: Error) => {
      assert.ok(error.message.includes(`the journal ${file} is broken`), error.message);
      return true;
    });
    assert.throws(() => Journal.open('flannel.1', root), /is broken/);
  }
});

const VIA = '10.5.72.0/24 via 192.168.64.4 dev eth0 proto boot metric 0';
const HOLE = 'blackhole 10.5.52.0/24 proto boot metric 4294967295';
const OTHER = '10.9.1.0/24 via 192.168.64.9 dev eth0 proto boot metric 0';

test('routes are taken back by one ip; what else it says keeps them in the journal', async (t) => {
  const root = scratch(t);
  const run = path.join(root, 'run');
  const journal = Journal.open('host-gw', run, fakeProc(root, '1'));
  journal.record({ kind: 'routes', made: [VIA] });
  journal.record({ kind: 'routes', made: [VIA, HOLE] });
  assert.deepEqual(journal.routes, [VIA, HOLE]);
  const proc = died(root);
  const runner = (stderr: string) => new FakeRunner({ 'ip -force -batch -': { code: 1, stderr } });
  const failed = await down(
    runner('RTNETLINK answers: Operation not permitted\n'),
    'host-gw',
    run,
    proc,
  );
  assert.deepEqual(failed.problems, [
    'The routes could not be taken back: RTNETLINK answers: Operation not permitted',
  ]);
  const gone = 'RTNETLINK answers: No such process\nCommand failed -:1\n';
  const done = await down(runner(gone), 'host-gw', run, proc);
  assert.equal(done.did[0], '1 route was removed, 1 had gone.');
  assert.deepEqual(fs.readdirSync(run), []);
});

test('what ip is told are the whole names: a route is not deleted by its subnet alone', async (t) => {
  const root = scratch(t);
  const run = path.join(root, 'run');
  const journal = Journal.open('host-gw', run, fakeProc(root, '1'));
  journal.record({ kind: 'routes', made: [VIA, HOLE] });
  const told: (string | undefined)[] = [];
  const runner = new FakeRunner();
  runner.run = async (argv, options: { input?: string } = {}) => {
    told.push(argv.join(' '), options.input);
    return { code: 0, signal: null, stdout: '', stderr: '' };
  };
  const { did } = await down(runner, 'host-gw', run, died(root));
  assert.deepEqual(told, ['ip -force -batch -', `route del ${VIA}\nroute del ${HOLE}\n`]);
  assert.equal(did[0], '2 routes were removed.');
});

test('routes of an ended run under another name are taken over, those of this network', (t) => {
  const root = scratch(t);
  const run = path.join(root, 'run');
  const proc = fakeProc(root, '1');
  const open = (name: string) => Journal.open(name, run, proc);
  open('flannel.1').record({ kind: 'routes', made: [VIA, OTHER] });
  open('flannel.2').record({ kind: 'routes', made: [HOLE] });
  fs.writeFileSync(path.join(run, 'flannel.3.json'), 'broken');
  const ours = routesInside('10.5.0.0/16');
  const alive = open('host-gw');
  alive.inheritRoutes(ours, proc);
  assert.deepEqual(alive.routes, [], 'their process lives');

  const journal = Journal.open('host-gw', run, fakeProc(root, '2'));
  journal.inheritRoutes(ours, proc);
  assert.deepEqual(journal.routes, [VIA, HOLE]);
  assert.deepEqual(readJournal(path.join(run, 'flannel.1.json'))?.entries, [
    { kind: 'routes', made: [OTHER] },
  ]);
  assert.deepEqual(fs.readdirSync(run).sort(), [
    'flannel.1.json',
    'flannel.3.json',
    'host-gw.json',
  ]);
  journal.forget({ kind: 'routes' });
  journal.removeIfEmpty();
  assert.ok(!fs.existsSync(journal.file));
});
