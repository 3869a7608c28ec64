/**
 * weft in flanneld's own unit, as docs/migration.md puts it there: upgraded, removed, and flanneld back
 * in its place.
 */
import assert from 'node:assert/strict';
import { blocksOf } from '../docs/blocks.js';
import { type Site, within } from './site.js';

const PROGRAM = '/usr/local/bin/flanneld';
const UNIT = '/etc/systemd/system/flanneld.service';

/** It says what it was given, and runs. */
const STAND_IN = `#!/bin/sh
echo "$*" >/run/flanneld.flags
exec sleep 100000
`;

export async function inFlanneldsUnit(site: Site): Promise<void> {
  const { machine } = site;
  const sh = (line: string) => machine.sh(line);
  const [there, back] = blocksOf('docs/migration.md')
    .filter(({ heading, language }) => heading === "flanneld's own unit" && language === 'sh')
    .map(({ text }) => text);
  const flags = `-etcd-endpoints=${site.etcd.endpoint} -iface=ens33 -ip-masq -lanes=2`;
  await sh('systemctl disable --now weft');
  await machine.write(PROGRAM, STAND_IN);
  await machine.write(
    UNIT,
    `[Service]\nExecStart=${PROGRAM} \\\n    ${flags}\nRestart=on-failure\n` +
      '[Install]\nWantedBy=multi-user.target\n',
  );
  await sh(`chmod 755 ${PROGRAM}; systemctl daemon-reload; systemctl enable --now flanneld`);

  await sh(there!);
  await site.weftIsWell();
  assert.equal(await site.property('weft', 'ActiveState'), 'inactive');
  await site.answers(await site.box('box'));

  // The same package once more: dpkg takes its steps for an upgrade.
  const before = await site.property('flanneld', 'MainPID');
  await sh('dpkg -i /root/weft.deb');
  assert.notEqual(await site.property('flanneld', 'MainPID'), before);
  await site.weftIsWell();
  assert.equal(await site.property('weft', 'ActiveState'), 'inactive');
  await site.answers(await site.box('box'));

  const said = await sh('dpkg -r weft 2>&1');
  assert.match(said, /flanneld's unit runs weft and cannot start without it; back to flanneld:/);
  const told = /^ {4}(rm .*)$/m.exec(said)![1]!;
  // What runs goes on until then.
  await site.answers(await site.box('box'));
  await sh(told);
  await within(5_000, 'flanneld runs', async () => {
    return (await sh('cat /run/flanneld.flags')) === flags;
  });
  assert.equal(await sh('ip -br link show type tun'), '');
  // The same lines, but for what only a real flanneld has made.
  assert.deepEqual(
    told.split(' && '),
    back!.trimEnd().split('\n').slice(0, -1),
    'the document and the package say the same',
  );

  await sh(`systemctl disable --now flanneld; rm ${UNIT} ${PROGRAM}`);
  await sh('dpkg -i /root/weft.deb && systemctl daemon-reload && systemctl enable --now weft');
  await site.weftIsWell();
  await site.answers(await site.box('box'));
}
