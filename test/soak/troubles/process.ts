/** What is done to the process: signals, limits, its control socket, its files. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { cgroupOf } from '../../../src/lab/cgroups.js';
import { LAB_MARK } from '../../../src/lab/enter.js';
import { INSTALLATION, install, RUN_DISK } from '../site.js';
import { nothing, type Trouble } from './trouble.js';

/** None of them may end weft, stop it, or have it listen for a debugger. */
const HARMLESS: readonly NodeJS.Signals[] = [
  ...(['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGPIPE', 'SIGALRM', 'SIGVTALRM', 'SIGPROF'] as const),
  ...(['SIGIO', 'SIGPWR', 'SIGXCPU', 'SIGWINCH', 'SIGCONT', 'SIGURG', 'SIGCHLD'] as const),
];
/** The same, from the first that glibc leaves to programs to the last. */
const REALTIME = [34, 40, 64];

/** A hundred connections whose answers nobody reads. */
const ASK_AND_WAIT = `
  const ask = () => require('net').connect(process.argv[1]).pause().on('error', () => {});
  for (let i = 0; i < 100; i++) ask();
  setTimeout(() => {}, 60_000);
`;

const PIDS = '/sys/fs/cgroup/pids';

export const processTroubles: readonly Trouble[] = [
  ...[...HARMLESS, ...REALTIME].map(
    (signal): Trouble => ({
      name: typeof signal === 'string' ? signal : `SIG${signal}`,
      loses: false,
      async make(_site, { host, pid }) {
        process.kill(pid, signal);
        await new Promise((resolve) => setTimeout(resolve, 300));
        const { stdout } = await host.run(['ss', '-Hltn']);
        assert.doesNotMatch(stdout, /:9229\b/, 'a debugger listens');
        return nothing;
      },
    }),
  ),
  {
    name: 'stopped for a while',
    loses: true,
    async make(_site, { pid }) {
      process.kill(pid, 'SIGSTOP');
      return async () => {
        process.kill(pid, 'SIGCONT');
      };
    },
  },
  {
    name: 'no descriptors left',
    loses: false,
    async make(_site, { host, pid }) {
      const used = fs.readdirSync(`/proc/${pid}/fd`).length;
      const limits = fs.readFileSync(`/proc/${pid}/limits`, 'utf8');
      const [, soft, hard] = /^Max open files\s+(\d+)\s+(\d+)/m.exec(limits) ?? [];
      const limit = (value: string) =>
        host.run(['prlimit', '--pid', String(pid), `--nofile=${value}`]);
      await limit(`${used}:${hard}`);
      return async () => {
        await limit(`${soft}:${hard}`);
      };
    },
  },
  {
    name: 'no threads and no processes left',
    loses: false,
    fits: () => fs.existsSync(`${PIDS}/cgroup.procs`),
    async make(_site, { host, pid }) {
      const group = `${PIDS}/${cgroupOf(process.env[LAB_MARK] as string)}/${host.name}`;
      fs.mkdirSync(group, { recursive: true });
      fs.writeFileSync(`${group}/cgroup.procs`, String(pid));
      fs.writeFileSync(`${group}/pids.max`, '1');
      return async () => {
        fs.writeFileSync(`${group}/pids.max`, 'max');
      };
    },
  },
  {
    name: 'many that ask for its status and do not read',
    loses: false,
    async make(_site, { host }) {
      const asking = host.start([
        ...[process.execPath, '-e', ASK_AND_WAIT, `${RUN_DISK}/flannel.1.sock`],
      ]);
      return async () => {
        await asking.stop();
      };
    },
  },
  {
    name: 'its files are moved away',
    loses: false,
    async make(_site, { host }) {
      const at = host.path(INSTALLATION);
      fs.renameSync(at, `${at}.away`);
      return async () => fs.renameSync(`${at}.away`, at);
    },
  },
  {
    name: 'its files are moved away, and its TUN is deleted',
    loses: true,
    async make(_site, { host }) {
      const at = host.path(INSTALLATION);
      fs.renameSync(at, `${at}.away`);
      await host.ip('link del flannel.1');
      return async () => fs.renameSync(`${at}.away`, at);
    },
  },
  {
    name: 'another build is put in its place, and the MTU changes',
    loses: true,
    async make(_site, { host }) {
      const at = host.path(INSTALLATION);
      install(`${at}.next`);
      for (const name of fs.readdirSync(`${at}.next/dist/src`, { recursive: true })) {
        const file = `${at}.next/dist/src/${name}`;
        if (file.endsWith('.js')) fs.writeFileSync(file, 'throw new Error("another build");\n');
      }
      fs.writeFileSync(`${at}.next/native/build/weft.node`, 'another build');
      fs.renameSync(at, `${at}.old`);
      fs.renameSync(`${at}.next`, at);
      await host.ip('link set ens33 mtu 1400');
      return async () => {
        fs.rmSync(at, { recursive: true });
        fs.renameSync(`${at}.old`, at);
        await host.ip('link set ens33 mtu 1500');
      };
    },
  },
];
