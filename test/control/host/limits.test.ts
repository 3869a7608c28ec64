import assert from 'node:assert/strict';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  checkDescriptors,
  checkSpace,
  checkTasks,
  describeSpace,
} from '../../../src/control/host/limits.js';
import { checkLanes, preflight } from '../../../src/control/host/preflight.js';
import { FakeRunner, plant, scratch } from './fakes.js';

const GIB = 2 ** 30;

interface Facts {
  user?: number;
  threads?: number;
  sizeGiB?: number;
  space?: string;
  files?: string;
  processes?: string;
  cgroup?: string;
  groups?: Record<string, string>;
}

function places(t: TestContext, facts: Facts) {
  const { user = 0, threads = 7, sizeGiB = 1, cgroup = '' } = facts;
  const { space = 'unlimited', files = '1024', processes = 'unlimited', groups = {} } = facts;
  const root = scratch(t);
  const status =
    `Uid:\t${user}\t${user}\t${user}\t${user}\nVmSize:\t${(sizeGiB * GIB) / 1024} kB\n` +
    `Threads:\t${threads}\nCapEff:\t000001ffffffffff\nCapAmb:\t000001ffffffffff\n`;
  const row = (name: string, soft: string) => `${name.padEnd(26)}${soft.padEnd(21)}unlimited  x\n`;
  plant(path.join(root, 'proc'), {
    'self/status': status,
    '9/status': status,
    '10/status': `Uid:\t77\nThreads:\t500\n`,
    'self/cgroup': cgroup,
    'self/limits':
      row('Max address space', space) +
      row('Max open files', files) +
      row('Max processes', processes),
  });
  plant(path.join(root, 'groups'), groups);
  return { proc: path.join(root, 'proc'), cgroups: path.join(root, 'groups'), tun: '/dev/null' };
}

const pids = (folder: string, max: string, current: string) => ({
  [path.join(folder, 'pids.max')]: `${max}\n`,
  [path.join(folder, 'pids.current')]: `${current}\n`,
});

test('threads: the narrowest of all control groups above counts', (t) => {
  const cgroup = '0::/system.slice/weft.service\n';
  const check = (groups: Record<string, string>, threads = 1) =>
    checkTasks(threads, places(t, { cgroup, groups }));
  assert.equal(check({}), null);
  assert.equal(check(pids('system.slice/weft.service', 'max', '7')), null);
  // 4 more threads of Node, one of a lane, 8 of others.
  assert.equal(check(pids('system.slice/weft.service', '20', '7')), null);
  assert.match(check(pids('system.slice/weft.service', '19', '7'))!, /no more than 12 .*TasksMax=/);
  const wide = pids('system.slice/weft.service', '100', '7');
  assert.match(
    check({ ...wide, ...pids('system.slice', '40', '30') })!,
    /no more than 10 .*system\.slice\/pids\.max is 40\), and weft needs 13: .* to 43 at least$/,
  );
  assert.match(check({ ...wide, ...pids('', '40', '50') })!, /no more than 0 /);
  const full = pids('system.slice/weft.service', '100', '95');
  assert.match(check({ ...full, ...pids('system.slice', '40', '30') })!, /no more than 5 /);
  assert.match(check(wide, 90)!, /weft needs 102/);
});

test('threads: the pids controller of version 1, and the groups of a container', (t) => {
  const cgroup = '8:pids:/docker/ab\n4:memory:/other\n0::/\n';
  const lack = (groups: Record<string, string>) => checkTasks(1, places(t, { cgroup, groups }));
  assert.match(lack(pids('pids/docker/ab', '18', '7'))!, /pids\.max is 18/);
  assert.match(lack(pids('pids', '18', '7'))!, /--pids-limit/);
  assert.equal(lack(pids('memory/other', '18', '7')), null);
  assert.equal(lack(pids('pids/docker/ab', 'max', '7')), null);
});

test("threads: a user's limit counts all that the user runs, root's nothing", (t) => {
  const check = (user: number, processes: string) => checkTasks(1, places(t, { user, processes }));
  assert.match(check(1000, '19')!, /no more than 12 .*RLIMIT_NPROC is 19 .*LimitNPROC=/);
  assert.equal(check(1000, '20'), null);
  assert.equal(check(1000, 'unlimited'), null);
  assert.equal(check(0, '1'), null);
});

test('address space: what the threads take beside their memories', (t) => {
  const check = (space: string, threads: number) =>
    checkSpace(threads, places(t, { sizeGiB: 11, space }));
  assert.equal(check('unlimited', 16), null);
  assert.equal(check(String(13 * GIB), 1), null);
  assert.match(check(String(12 * GIB), 1)!, /it is 12 GiB\).*LimitAS=/);
  assert.match(check(String(13 * GIB), 2)!, /it is 13 GiB/);
  assert.doesNotMatch(describeSpace(Number.POSITIVE_INFINITY), /it is/);
});

test('descriptors: enough for the start', (t) => {
  assert.equal(checkDescriptors(places(t, { files: '96' })), null);
  assert.equal(checkDescriptors(places(t, { files: 'unlimited' })), null);
  assert.match(checkDescriptors(places(t, { files: '64' }))!, /more than 64 files.*LimitNOFILE=/);
});

test('what cannot be read limits nothing', (t) => {
  const none = { proc: path.join(scratch(t), 'none'), cgroups: '/nowhere' };
  assert.equal(checkTasks(16, none), null);
  assert.equal(checkSpace(16, none), null);
  assert.equal(checkDescriptors(none), null);
});

test('the lanes: memories that cannot be had, a Node without WebAssembly, too few threads', (t) => {
  const host = places(t, {});
  const lack = (error: Error) => {
    const reserve = () => {
      throw error;
    };
    return checkLanes({ threads: 1, reserve }, host)!;
  };
  assert.match(lack(new RangeError('could not allocate')), /the address space is limited, /);
  assert.match(lack(new ReferenceError('not defined')), /no WebAssembly.*--jitless/);
  const few = places(t, { cgroup: '0::/\n', groups: pids('', '30', '15') });
  const wanted = (threads: number) => ({ threads, reserve: () => {} });
  assert.equal(checkLanes(wanted(3), few), null);
  assert.match(checkLanes(wanted(4), few)!, /no more than 15 .*weft needs 16/);
  const space = places(t, { sizeGiB: 11, space: String(12 * GIB) });
  assert.match(checkLanes(wanted(1), space)!, /it is 12 GiB/);
});

test('preflight: without threads to be had, no program is started', async (t) => {
  const host = places(t, { cgroup: '0::/\n', groups: pids('', '12', '8') });
  const { others } = await preflight(new FakeRunner({}), host);
  assert.equal(others.length, 1);
  assert.match(others[0]!, /and weft needs 13/);
});
