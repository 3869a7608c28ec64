/** What is to be typed for etcd works as it stands, also where etcd wants certificates. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import {
  ETCD_ACCESS,
  ETCD_PLACE,
  etcdctlFlags,
  PASSWORD_FILE,
  takeEtcdFlags,
} from '../../src/cli/etcd-access.js';
import { parseFlags } from '../../src/cli/flags.js';
import { EtcdStore } from '../../src/control/store/etcd.js';
import { judgeConfig, judgeConfigChange } from '../../src/operate/findings/config.js';
import { judgeAlarms, judgeStore } from '../../src/operate/findings/store.js';
import { judgeRefused } from '../../src/operate/findings/unsound.js';
import { Lines, realClock } from '../control/fakes.js';
import { noOpenssl } from '../control/store/certificates.js';
import { noEtcd } from '../control/store/etcd-server.js';
import { SecureEtcd } from '../control/store/secure-etcd.js';
import { fullStatus } from '../operate/status/full.js';

const PREFIX = '/coreos.com/network';
const skip = noEtcd || noOpenssl;
let etcd: SecureEtcd;
let store: EtcdStore;

/** Of files in a folder with a blank in its name. */
function parse(...args: string[]) {
  return parseFlags([...ETCD_PLACE, ...ETCD_ACCESS, PASSWORD_FILE], args);
}

before(async () => {
  if (skip) return;
  etcd = await SecureEtcd.start();
  await etcd.halt();
  const { ca, client, clientKey } = etcd.certificates;
  await etcd.run('--client-cert-auth', `--trusted-ca-file=${ca}`);
  const folder = path.join(etcd.directory, 'my keys');
  fs.mkdirSync(folder);
  const [cafile, certfile, keyfile] = [ca, client, clientKey].map((file) => {
    const copy = path.join(folder, path.basename(file));
    fs.copyFileSync(file, copy);
    return copy;
  });
  const flags = parse(
    ...[`-etcd-endpoints=${etcd.endpoint}`, `-etcd-cafile=${cafile}`],
    ...[`-etcd-certfile=${certfile}`, `-etcd-keyfile=${keyfile}`],
  );
  const access = takeEtcdFlags(flags, [], {});
  store = new EtcdStore({ ...access, clock: realClock, random: Math.random, log: new Lines() });
});
after(async () => {
  await store?.close();
  await etcd?.end();
});

function type(line: string): void {
  const { status, stderr } = spawnSync('sh', ['-c', line], {
    ...{ encoding: 'utf8', env: { ...process.env, ETCDCTL_API: '3' } },
  });
  assert.equal(status, 0, `${line}\n${stderr}`);
}

const at = () => ({ store: store.description, etcdctlFlags: store.etcdctlFlags });

test('the network config that is missing, or harmful, or was changed', { skip }, async () => {
  const hint = await store.hintForMissingConfig();
  type(hint!.replace(/.*put one with: /, ''));
  assert.match((await store.readConfig()) ?? '', /"Network"/);
  const better = '{"Network":"10.6.0.0/16"}';
  const [harmful] = judgeConfig({ ...at(), flanneldRefuses: { why: 'is odd', better } });
  type(harmful!.cure);
  assert.equal(await store.readConfig(), better);
  const configChange = { is: 'gone', what: [], parts: true, inForce: '{"Network":"x"}' } as const;
  const [changed] = judgeConfigChange({ ...fullStatus, ...at(), configChange });
  type(changed!.cure);
  assert.equal(await store.readConfig(), '{"Network":"x"}');
});

test('a lease that is to go, an alarm, an etcd that is asked how it is', { skip }, () => {
  etcd.ctl('put', `${PREFIX}/subnets/o'dd`, 'x');
  const wrong = { key: "o'dd", why: 'is odd', used: false, flanneld: null };
  const [lease] = judgeRefused({ ...at(), unsoundLeases: [wrong] });
  type(lease!.cure);
  assert.equal(etcd.ctl('get', '--prefix', `${PREFIX}/subnets/`), '');
  const [alarm] = judgeAlarms('NOSPACE', at());
  type(alarm!.cure);
  const storeState = { ...fullStatus.storeState, awaySeconds: 9, answerMs: null };
  const [away] = judgeStore({ ...fullStatus, ...at(), storeState });
  type(away!.cure);
});

test('the password is never in it; nor what has no effect', () => {
  const https = ['https://a:2379'];
  const secret = ['-etcd-username=o h', '-etcd-password=s3cret', '-etcd-cafile=/ca.pem'];
  assert.equal(etcdctlFlags(parse(...secret), https), "--cacert=/ca.pem --user='o h'");
  assert.equal(etcdctlFlags(parse(...secret), ['http://a:2379']), "--user='o h'");
  assert.equal(etcdctlFlags(parse(), https), '');
});
