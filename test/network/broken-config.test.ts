/**
 * A network config that is changed while weft runs with another: see broken/judged.ts. A reload reads it
 * at once; that it is read without one, too, is in control/overlay/config-watch.test.ts.
 */
import process from 'node:process';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { describeBroken, type SetUp } from './broken/judged.js';
import type { Site } from './broken/site.js';
import { CONFIG, PREFIX } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'ping', 'nft'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const KEY = `${PREFIX}/config`;

const put = async (site: Site, config: string) => {
  await site.etcd.put(KEY, config);
  site.reload();
};

const changedTo = (is: string, config: string, finds = ['config-changed']): SetUp => ({
  ...{ is, finds },
  spoil: (site) => put(site, config),
  mend: (site) => put(site, CONFIG),
});

const SET_UPS: readonly SetUp[] = [
  changedTo('another Network', '{"Network":"10.77.0.0/16","Backend":{"Type":"vxlan"}}'),
  changedTo('another Backend.Type', CONFIG.replace('Vxlan', 'host-gw')),
  changedTo(
    'another VNI and Port',
    '{"Network":"10.10.0.0/16","Backend":{"Type":"vxlan","VNI":7,"Port":4789}}',
  ),
  changedTo('no JSON', '{"Network":'),
  changedTo('a backend that weft does not know', CONFIG.replace('Vxlan', 'wireguard')),
  changedTo('one that a flanneld refuses', CONFIG.replace('{', '{"SubnetMin":null,'), [
    'config-harmful',
  ]),
  {
    ...{ is: 'removed', finds: ['config-changed'] },
    spoil: async (site) => {
      await site.etcd.delete(KEY);
      site.reload();
    },
    mend: (site) => put(site, CONFIG),
  },
];

describeBroken('a network config that was changed', lacks, SET_UPS);
