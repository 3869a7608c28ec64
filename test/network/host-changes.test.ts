/** What may be changed on a host under a running weft, by nobody who thinks of it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { type Overlay, openOverlay, PREFIX, startWeft, weftFlags } from './overlay.js';
import { eventually, passes, show, toldSince } from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'ping', 'mount'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const ENV = '/run/flannel/subnet.env';
const DAY = 86_400_000;

describe('a host that changes under a running weft', {
  skip: lacks ?? false,
  timeout: 600_000,
}, () => {
  let overlay: Overlay;
  let host: Host;
  let weft: Running;

  before(async () => {
    overlay = await openOverlay(['weft', 'weft'], true);
    host = overlay.hosts[0];
    weft = overlay.wefts[0]!;
  });
  after(() => overlay?.lab.close());
  afterEach(() => assert.equal(weft.code, undefined, weft.output));

  const weftCommand = (...args: string[]) =>
    host.run([process.execPath, WEFT, ...args], { mayFail: true, timeout: 10_000 });
  const hasFault = (fault: RegExp) =>
    eventually(
      async () => fault.test((await weftCommand('status', '--json')).stdout),
      () => weft.output,
      15_000,
    );
  /** Status answers, has no fault, and packets pass both ways. */
  const isWell = async (within = 15_000) => {
    await eventually(
      async () => {
        const { code, stdout } = await weftCommand('status', '--json');
        return code === 0 && JSON.parse(stdout).faults?.length === 0;
      },
      () => weft.output,
      within,
    );
    const [a, b] = overlay.containers;
    assert.ok((await passes(a, b)) && (await passes(b, a)), weft.output);
  };
  /** A peer that joins is in the kernel's table soon. */
  const follows = async (number: number) => {
    const subnet = `10.10.${number}.0/24`;
    const one = { subnet, publicIp: `192.168.56.${number}`, mac: '02:00:00:00:00:99' };
    await overlay.etcd.register(PREFIX, one);
    await eventually(
      async () => (await show(host, 'route show dev flannel.1')).includes(subnet),
      () => weft.output,
    );
    await overlay.etcd.delete(`${PREFIX}/subnets/10.10.${number}.0-24`);
  };

  test('the time of day jumps by a day, there and back: nobody notices', async () => {
    assert.equal(await weft.stop(), 0);
    // The machine's own clock is everybody's: what reads the time of day in this process is misled.
    const jumping = `import fs from 'node:fs';
      const Real = Date;
      let by = 0;
      globalThis.Date = class extends Real {
        constructor(...given) { given.length === 0 ? super(Real.now() + by) : super(...given); }
        static now() { return Real.now() + by; }
      };
      setInterval(() => {
        try { by = Number(fs.readFileSync('/run/jump', 'utf8')); } catch { by = 0; }
      }, 20).unref();`;
    const script = `data:text/javascript,${encodeURIComponent(jumping)}`;
    const command = [process.execPath, '--import', script, WEFT, 'up'];
    weft = host.start([...command, ...weftFlags(overlay.etcd)]);
    await weft.waitFor(/ready: flannel/, 60_000);
    await isWell();
    const from = weft.output.length;
    const lease = await leaseOf();
    for (const [number, by] of [DAY, -DAY, 0].entries()) {
      host.write('/run/jump', `${by}`);
      await sleep(4_000);
      await follows(230 + number);
      await isWell();
    }
    assert.doesNotMatch(toldSince(weft, from).join('\n'), /^[WE] /m);
    assert.deepEqual(await leaseOf(), lease);
    assert.equal(await weft.stop(), 0);
    fs.rmSync(host.path('/run/jump'));
    weft = await startWeft(host, overlay.etcd);
  });

  test('something else is mounted over /run, and gone again: all that others read there is made anew', async () => {
    const text = host.read(ENV)!;
    const read = async () => (await host.run(['cat', ENV], { mayFail: true })).stdout;
    const isThere = async () => {
      await isWell();
      await eventually(
        async () => (await read()) === text,
        () => weft.output,
      );
      const listed = (await host.run(['ls', '/run/weft'])).stdout;
      assert.match(listed, /flannel\.1\.json/, 'what weft down goes by');
    };
    await host.run(['mount', '-n', '-t', 'tmpfs', 'tmpfs', '/run']);
    await isThere();
    await follows(240);
    // A weft that starts now knows that this one runs.
    const second = await weftCommand('up', ...weftFlags(overlay.etcd));
    assert.equal(second.code, 1);
    assert.match(second.stderr, /flannel\.1|weft .*runs/);
    // A listening socket keeps a mount busy.
    await host.run(['umount', '-n', '-l', '/run']);
    await isThere();
  });

  test('another ip in its place, which cannot run at first: a fault while it is so', async () => {
    const program = (await host.run(['readlink', '-f', '/usr/sbin/ip'])).stdout.trim();
    const library = 'libelf.so.1: cannot open shared object file';
    const broken = `#!/bin/sh\necho 'ip: error while loading shared libraries: ${library}' >&2\nexit 127\n`;
    host.write('/run/ip-none', broken);
    await host.run(['chmod', '755', '/run/ip-none']);
    await host.run(['cp', program, '/run/ip-real']);
    const wrapper =
      '#!/bin/sh\n[ "$1" = -V ] && { echo "ip utility, iproute2-9.9.9"; exit 0; }\nexec /run/ip-real "$@"\n';
    host.write('/run/ip-other', wrapper);
    await host.run(['chmod', '755', '/run/ip-other']);
    const anew = async () => {
      for (const pid of await children()) process.kill(pid, 'SIGKILL');
    };
    await host.run(['mount', '-n', '--bind', '/run/ip-none', program]);
    await anew();
    await hasFault(/ip ended \(code 127\): ip: error while loading shared libraries: libelf/);
    const [a, b] = overlay.containers;
    assert.ok((await passes(a, b)) && (await passes(b, a)), weft.output);
    await host.run(['umount', '-n', program]);
    await isWell();
    await host.run(['mount', '-n', '--bind', '/run/ip-other', program]);
    await anew();
    await isWell();
    await follows(241);
    await host.run(['umount', '-n', program]);
    await anew();
    await follows(242);
    await isWell();
  });

  test('a file where the folder of subnet.env belongs: a fault, and packets pass; then it is made', async () => {
    assert.equal(await weft.stop(), 0);
    fs.rmSync(host.path('/run/flannel'), { recursive: true });
    host.write('/run/flannel', 'not a folder\n');
    weft = host.weft(...weftFlags(overlay.etcd));
    await hasFault(/cannot write \/run\/flannel\/subnet\.env: .*Docker and CNI will miss it/);
    const [a, b] = overlay.containers;
    await eventually(
      () => passes(a, b),
      () => weft.output,
    );
    assert.equal(host.read('/run/flannel'), 'not a folder\n', "somebody else's stays");
    fs.rmSync(host.path('/run/flannel'));
    await isWell();
    assert.match(host.read(ENV) ?? '', /^FLANNEL_NETWORK=10\.10\.0\.0\/16\n/);
  });

  /** Our own key and its value. */
  const leaseOf = async () => {
    const all = await overlay.etcd.list(`${PREFIX}/subnets/`);
    const own = all.find(({ value }) => value.includes('"192.168.56.11"'));
    assert.ok(own !== undefined, weft.output);
    return { key: own.key, value: own.value };
  };

  /** The `ip` programs that weft has running. */
  const children = async (): Promise<number[]> => {
    const file = `/proc/${weft.pid}/task/${weft.pid}/children`;
    const pids = fs
      .readFileSync(file, 'utf8')
      .split(' ')
      .filter((word) => word !== '');
    return pids.map(Number).filter((pid) => {
      return /(^|\/)ip(-real)?\0/.test(fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
    });
  };
});
