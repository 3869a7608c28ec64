/** `weft dash` beside a running weft: the process that serves has no rights, and nobody looks without the token. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { until } from '../control/fakes.js';
import { openSite, startWeft } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'ss'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('weft dash', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let host: Host;
  let weft: Running;
  let dash: Running;
  let address: string;

  before(async () => {
    const site = await openSite();
    ({ lab, host } = site);
    const { etcd } = site;
    weft = await startWeft(host, etcd);
    dash = host.start([process.execPath, WEFT, 'dash']);
    const said = await dash.waitFor(/http:\/\/127\.0\.0\.1:8473\/\?token=[0-9a-f]{32}/, 60_000);
    [address = ''] = said;
  });
  after(() => lab?.close());

  /** The first events of the page, as text. */
  const events = async (url = address): Promise<string> => {
    const program = `
      const first = await fetch('${url}', { redirect: 'manual' });
      const cookie = first.headers.get('set-cookie')?.split(';')[0] ?? '';
      const answer = await fetch('http://127.0.0.1:8473/events', { headers: { cookie } });
      let text = String(answer.status);
      if (answer.ok) for await (const part of answer.body) {
        text += Buffer.from(part);
        if (/event: view[\\s\\S]*event: view/.test(text)) break;
      }
      console.log(text);
      process.exit(0);`;
    return (await host.run([process.execPath, '--input-type=module', '-e', program])).stdout;
  };
  const pidOfServer = async (): Promise<string> => {
    const { stdout } = await host.run(['ss', '-ltnpH', 'sport = :8473']);
    assert.match(stdout, /127\.0\.0\.1:8473/, 'loopback alone');
    return /pid=(\d+)/.exec(stdout)![1]!;
  };

  test('tells the page what weft tells, again and again', async () => {
    const text = await events();
    assert.match(text, /^200event: history\ndata: /);
    assert.match(text, /"verdict":\{"state":"well","text":"no peers"\}/);
    assert.match(text, /"sample":\{"time":/);
  });

  test('the process that serves has no rights, no environment, and its own place', async () => {
    const pid = await pidOfServer();
    const read = async (file: string) => (await host.run(['cat', `/proc/${pid}/${file}`])).stdout;
    const status = await read('status');
    assert.equal((await host.run(['readlink', `/proc/${pid}/cwd`])).stdout.trim(), '/');
    assert.doesNotMatch(await read('environ'), /ETCD|PATH/);
    // An ordinary user's namespace has that user alone.
    if (!hasNobody(await read('uid_map'))) {
      assert.match(
        dash.output,
        /the process that serves keeps the rights of this user: there is no other here/,
      );
      return;
    }
    assert.doesNotMatch(dash.output, /keeps the rights/);
    assert.match(status, /^Uid:\t65534\t65534\t65534\t65534$/m);
    assert.match(status, /^Gid:\t65534\t65534\t65534\t65534$/m);
    assert.match(status, /^Groups:\t ?$/m);
    for (const set of ['CapPrm', 'CapEff']) {
      assert.match(status, new RegExp(`^${set}:\t0+$`, 'm'));
    }
  });

  test('where there is nobody to become it keeps the rights of its user, says so, and serves', async () => {
    const alone = ['unshare', '--user', '--map-root-user'];
    const other = host.start([...alone, process.execPath, WEFT, 'dash', '-port=0']);
    const [url] = await other.waitFor(/http:\/\/127\.0\.0\.1:\d+\/\?token=[0-9a-f]{32}/, 60_000);
    assert.match(
      other.output,
      /the process that serves keeps the rights of this user: there is no other here/,
    );
    // With the token it gives a cookie, and leads to the page.
    const asks = `const { status } = await fetch('${url}', { redirect: 'manual' }); console.log(status); process.exit(0);`;
    const asked = [process.execPath, '--input-type=module', '-e', asks];
    assert.match((await host.run(asked)).stdout, /^30\d\n$/);
    await other.stop();
  });

  const noUsers = labLacks({ root: true }) ?? false;
  test('root that may not become another user serves nothing', { skip: noUsers }, async () => {
    const bound = ['setpriv', '--bounding-set=-setuid,-setgid'];
    const argv = [...bound, process.execPath, WEFT, 'dash', '-port=0'];
    const { code, stdout, stderr } = await host.run(argv, { mayFail: true });
    assert.equal(code, 1, stdout + stderr);
    assert.match(stderr, /cannot serve on 127\.0\.0\.1:0: EPERM/);
    assert.doesNotMatch(stderr, /TypeError/);
  });

  test('without its token nobody sees anything', async () => {
    assert.equal((await events('http://127.0.0.1:8473/')).trim(), '403');
  });

  test('a taken port is told with what to do', async () => {
    const { code, stderr } = await host.run([process.execPath, WEFT, 'dash'], { mayFail: true });
    assert.equal(code, 1);
    assert.match(stderr, /port 8473 on 127\.0\.0\.1 is taken .* give another -port/);
  });

  test('a weft that has ended is told, and so is one that is back', async () => {
    await weft.stop();
    await until(async () => /"state":"gone","why":"no weft runs/.test(await events()));
  });

  test('ends on a signal, and nothing of it is left; so it does when it is killed', async () => {
    const gone = async (pid: string) => {
      // Whoever inherited it may not have taken note of its end yet.
      const { code, stdout } = await host.run(['cat', `/proc/${pid}/status`], { mayFail: true });
      return code !== 0 || /^State:\tZ/m.test(stdout);
    };
    const pid = await pidOfServer();
    await dash.stop();
    await until(() => gone(pid));
    dash = host.start([process.execPath, WEFT, 'dash']);
    await dash.waitFor(/token=/, 60_000);
    const second = await pidOfServer();
    dash.kill('SIGKILL');
    await until(() => gone(second));
  });
});

/** Whether a map of users (/proc/PID/uid_map) has number 65534. */
function hasNobody(map: string): boolean {
  return map
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/ +/).map(Number) as [number, number, number])
    .some(([first, , count]) => first <= 65_534 && 65_534 < first + count);
}
