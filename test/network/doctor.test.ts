/**
 * `weft doctor` before a start, and beside a weft: it names what is wrong and changes nothing; and
 * that status, readyz and metrics say the same.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Finding } from '../../src/operate/findings/finding.js';
import { openSite, PREFIX, startWeft, weftFlags } from './overlay.js';

const SOCKET = new URL('../../src/operate/status/socket.js', import.meta.url).href;
const lacks = labLacks({ programs: ['etcd', 'ip', 'socat', 'iptables', 'nft'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('weft doctor', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;

  before(async () => {
    ({ lab, etcd, host } = await openSite());
  });
  after(() => lab?.close());

  const doctor = (...flags: string[]) =>
    host.run([process.execPath, WEFT, 'doctor', ...flags], { mayFail: true });
  const findings = async (...flags: string[]): Promise<string[]> => {
    const { looks } = JSON.parse((await doctor('-json', ...flags)).stdout) as {
      looks: { findings: Finding[] }[];
    };
    return looks.flatMap((look) => look.findings.map(({ code }) => code));
  };
  /** From weft's health listener: status and body. */
  const get = async (url: string): Promise<[number, string]> => {
    const program = `const r = await fetch('http://127.0.0.1:8081${url}');
      console.log(JSON.stringify([r.status, await r.text()]))`;
    const argv = [process.execPath, '--input-type=module', '-e', program];
    return JSON.parse((await host.run(argv)).stdout);
  };
  const traces = async () => [
    (await host.run(['ip', '-4', '-d', 'addr'])).stdout.replace(/\d+sec/g, ''),
    // IPv6 gets its addresses on its own a second after the link.
    (await host.run(['ip', '-4', 'route', 'show', 'table', 'all'])).stdout,
  ];

  test('a host that weft can start on: what a start needs, in its order, and no error', async () => {
    const was = await traces();
    const { code, stdout } = await doctor(...weftFlags(etcd));
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^well {6}\d+ things looked at, no error/);
    const at = stdout.split('\n').map((line) => line.slice(0, 9).trim());
    assert.deepEqual(at.slice(1, 8), [
      ...['rights', 'tun', 'underlay', 'store', 'config', 'device', 'port'],
    ]);
    assert.match(stdout, /^underlay {2}ens33, address 192\.168\.56\.11, MTU 1500$/m);
    assert.match(stdout, /^config {4}10\.10\.0\.0\/16, vxlan, VNI 1, UDP 8472$/m);
    assert.deepEqual(await traces(), was);
  });

  test('without flags it goes by those of the unit, and says so; a wrong one is told with its file', async () => {
    const file = '/etc/default/weft';
    await host.run(['mount', '-t', 'tmpfs', 'none', '/etc/default']);
    const write = (text: string) => host.run(['tee', file], { input: text });
    await write(
      `# a comment\nFLANNELD_IFACE=ens33\nWEFT_OPTIONS=-etcd-endpoints="${etcd.endpoint}" -etcd-prefix=${PREFIX} -lanes=2\n`,
    );
    const { code, stdout } = await doctor();
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^flags {5}none given: those of the unit, in \/etc\/default\/weft$/m);
    assert.match(stdout, /^underlay {2}ens33, /m);
    assert.deepEqual(await findings('-etcd-endpoints=http://127.0.0.1:9'), ['store-away']);
    await write('WEFT_OPTIONS=-no-such\n');
    const wrong = await doctor('-json');
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /\/etc\/default\/weft: unknown flag -no-such/);
    await write('#WEFT_OPTIONS=-iface=eth9\n');
    assert.deepEqual(await findings(), ['store-away']);
    // What cannot be read is no empty file: an ordinary user, a broken disk; for root, a folder.
    await host.run(['sh', '-c', `rm ${file} && mkdir ${file}`]);
    assert.deepEqual(await findings(), ['store-away', 'flags']);
    assert.match(
      (await doctor()).stdout,
      /weft, could not be read \(EISDIR\): gone by the defaults$/m,
    );
    assert.deepEqual(await findings('-etcd-endpoints=http://127.0.0.1:9'), ['store-away']);
    await host.run(['umount', '/etc/default']);
  });

  test('takes the flags of weft up from the environment, as the unit has them', async () => {
    const [endpoints, prefix] = weftFlags(etcd).map((flag) => flag.replace(/^[^=]*=/, ''));
    const variables = [
      `FLANNELD_ETCD_ENDPOINTS=${endpoints}`,
      `FLANNELD_ETCD_PREFIX=${prefix}`,
      'FLANNELD_IP_MASQ=true',
    ];
    const argv = ['env', ...variables, process.execPath, WEFT, 'doctor', '-ip-masq', '-v=1'];
    const { code, stdout } = await host.run(argv, { mayFail: true });
    assert.equal(code, 0, stdout);
  });

  test('each thing that a start would fail on is named, with what to do', async () => {
    assert.deepEqual(await findings('-etcd-endpoints=http://192.168.56.99:2379'), ['store-away']);
    const [endpoints = '', prefix = ''] = weftFlags(etcd);
    assert.deepEqual(await findings(endpoints, '-etcd-prefix=/nothing/here'), ['no-config']);
    assert.deepEqual(await findings(endpoints, prefix, '-iface=eth7'), ['underlay']);
    await etcd.put('/bad/config', '{"Network":"10.10.0.0/33"}');
    assert.deepEqual(await findings(endpoints, '-etcd-prefix=/bad', '-iface=ens33'), ['config']);
    const ca = '-etcd-cafile=/nothing/ca.pem';
    assert.deepEqual(await findings(...weftFlags(etcd), ca), ['flags']);
    const tls = endpoints.replace('http:', 'https:');
    assert.deepEqual(await findings(tls, prefix, '-iface=ens33', ca), ['store-files']);
    const rival = host.start(['socat', 'UDP-RECVFROM:8472,fork', '/dev/null']);
    try {
      await host.run(['sh', '-c', 'until ss -lun | grep -q :8472; do sleep 0.05; done']);
      // The check of the running host sees a stranger on the port as well.
      assert.ok((await findings(...weftFlags(etcd))).includes('port-taken'));
    } finally {
      await rival.stop();
    }
  });

  test("another's rules: those that a start goes before are a note, those of the tunnel an error", async () => {
    await host.run(['iptables', '-P', 'FORWARD', 'DROP']);
    const open = await doctor(...weftFlags(etcd));
    assert.equal(open.code, 0, open.stdout);
    assert.match(
      open.stdout,
      /^note .*policy drop in iptables' table filter, chain FORWARD .*; weft up sets/m,
    );
    await host.run(['iptables', '-A', 'INPUT', '-p', 'udp', '--dport', '8472', '-j', 'DROP']);
    const shut = await doctor(...weftFlags(etcd));
    assert.equal(shut.code, 1);
    assert.match(shut.stdout, /^BROKEN .*chain INPUT drops the tunnel's packets from other hosts/);
    const [, cure = ''] = /do: (iptables .*)/.exec(shut.stdout) ?? [];
    await host.run(['sh', '-c', cure]);
    assert.equal((await doctor(...weftFlags(etcd))).code, 0);
    await host.run(['iptables', '-P', 'FORWARD', 'ACCEPT']);
    await host.run(['iptables', '-F', 'INPUT']);
  });

  test('before a start the hosts of the network are pinged; one that is gone is a warning', async () => {
    const peer = { publicIp: '192.168.56.99', subnet: '10.10.200.0/24', mac: '02:00:00:00:00:63' };
    await etcd.register(PREFIX, peer);
    const { code, stdout } = await doctor(...weftFlags(etcd));
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^probe {5}1 of 1 peer asked: none is well$/m);
    assert.match(stdout, /no host has the address 192\.168\.56\.99: nobody answers ARP for it/);
    await etcd.delete(`${PREFIX}/subnets/10.10.200.0-24`);
  });

  test('of a weft that waits: what it waits for, and the looks of a start', async () => {
    const waiting = host.weft('-etcd-endpoints=http://192.168.56.99:2379');
    try {
      await waiting.waitFor(/etcd/, 60_000);
      const codes = await findings('-etcd-endpoints=http://192.168.56.99:2379');
      assert.deepEqual(codes, ['starting', 'store-away']);
    } finally {
      await waiting.stop();
    }
  });

  test('of a weft that waits for a lease: no word of the port and the device that it has', async () => {
    // Such a wait is too short to be met: this has the port, and answers as one.
    const standIn = `
      const { StatusSocket } = await import('${SOCKET}');
      (await import('node:dgram')).createSocket('udp4').bind(8472);
      const answer = { version: '0.1.0', build: null, pid: process.pid, uptimeSeconds: 1 };
      const waitingFor = 'acquiring a lease';
      const told = () => ({ ...answer, waitingFor });
      await new StatusSocket(told, process.pid, '/run/weft').open();
      console.log('it waits');`;
    const waiting = host.start([process.execPath, '--input-type=module', '-e', standIn]);
    try {
      await waiting.waitFor(/it waits/, 10_000);
      const { stdout } = await doctor(...weftFlags(etcd));
      assert.deepEqual(await findings(...weftFlags(etcd)), ['starting'], stdout);
      assert.doesNotMatch(stdout, /kill|is free/);
    } finally {
      await waiting.stop();
    }
  });

  test('an interface whose MTU leaves too little for the tunnel', async () => {
    // Another than the one by which etcd is reached.
    await host.run(['ip', 'link', 'add', 'small0', 'type', 'veth', 'peer', 'name', 'small1']);
    try {
      for (const name of ['small0', 'small1']) {
        await host.run(['ip', 'link', 'set', name, 'mtu', '100', 'up']);
      }
      await host.run(['ip', 'addr', 'add', '192.168.99.1/24', 'dev', 'small0']);
      const flags = weftFlags(etcd).filter((flag) => !flag.startsWith('-iface'));
      const { code, stdout } = await doctor(...flags, '-iface=small0');
      assert.equal(code, 1, stdout);
      assert.match(
        stdout,
        /^BROKEN {4}small0 has an MTU of 100, and the tunnel needs 118; raise it/,
      );
    } finally {
      await host.run(['ip', 'link', 'del', 'small0']);
    }
  });

  test('of a weft that runs: what it finds itself, and no word of its own port and device', async () => {
    const weft = await startWeft(host, etcd, '-healthz-ip=127.0.0.1', '-healthz-port=8081');
    try {
      assert.deepEqual(await findings(), []);
      await host.run(['sysctl', '-qw', 'net.ipv4.ip_forward=0']);
      const deadline = performance.now() + 10_000;
      while ((await findings()).join() !== 'forwarding') {
        assert.ok(performance.now() < deadline, (await doctor()).stdout);
      }
      // Nothing has to be forwarded yet: Docker will switch it on.
      const early = await host.run([process.execPath, WEFT, 'status']);
      assert.match(early.stdout, /^well .* 1 warning\nwarning +this host does not forward IPv4/);
      assert.equal((await get('/readyz'))[0], 200);
      await host.container('xbox1');
      while ((await doctor()).code !== 1) {
        assert.ok(performance.now() < deadline, (await doctor()).stdout);
      }
      const [code, readyz] = await get('/readyz');
      assert.equal(code, 503);
      assert.match(readyz, /^weft is not ready: this host does not forward IPv4/);
      const [, metrics] = await get('/metrics');
      assert.match(metrics, /^weft_verdict\{state="broken"\} 1$/m);
      assert.match(metrics, /^weft_findings\{severity="error",code="forwarding"\} 1$/m);
      const status = await host.run([process.execPath, WEFT, 'status'], { mayFail: true });
      assert.equal(status.code, 1);
      assert.match(status.stdout, /^BROKEN {4}this host does not forward IPv4/);
      await host.run(['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
    } finally {
      await weft.stop();
    }
  });
});
