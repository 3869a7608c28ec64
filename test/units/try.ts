import process from 'node:process';
import fs from 'node:fs';
import { enterLab } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { Machine } from './machine.js';
if (!Lab.inside()) process.exit(await enterLab(undefined, { docker: true }));
const lab = await Lab.open();
const network = await lab.network();
const etcd = await network.etcd();
await etcd.put('/coreos.com/network/config', '{"Network":"10.10.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}');
const release = process.argv[2] ?? 'bookworm';
const root = fs.readdirSync('.cache/roots').find((n) => n.startsWith(`${release}-systemd`))!;
const m = new Machine(lab, network, { name: 'deb', root: `${process.cwd()}/.cache/roots/${root}`, address: '192.168.56.11/24' });
await m.boot();
console.log(await m.sh('systemctl is-system-running --wait; systemctl --failed --no-legend; uname -a; ip -br a'));
await m.bring('dist/packages/weft_0.1.0_amd64.deb', 'weft.deb');
const script = fs.readFileSync(process.argv[3]!, 'utf8');
for (const part of script.split('\n---\n')) {
  if (/^(REBOOT)/.test(part)) { const t = Date.now(); await m.reboot(); console.log('rebooted', Date.now() - t); continue; }
  if (/^ETCD stop/.test(part)) { await etcd.process.stop(); continue; }
  if (/^ETCD start/.test(part)) { await etcd.launch(); continue; }
  const t = Date.now();
  const r = await m.run(['sh', '-xc', `exec 2>&1; ${part}`], { mayFail: true, timeout: 120_000 });
  console.log(r.stdout, `rc ${r.code}, ${Date.now() - t} ms`);
}
await m.close();
await lab.close();
