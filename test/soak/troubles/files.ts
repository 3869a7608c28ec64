/** What becomes of the files that weft keeps for others and for itself. */
import fs from 'node:fs';
import { SUBNET_FILE } from '../../../src/lab/subnet-file.js';
import { RUN_DISK } from '../site.js';
import { nothing, type Trouble } from './trouble.js';

export const fileTroubles: readonly Trouble[] = [
  {
    name: 'subnet.env is removed',
    loses: false,
    async make(_site, { host }) {
      fs.rmSync(host.path(SUBNET_FILE));
      return nothing;
    },
  },
  {
    name: 'others write to subnet.env',
    loses: false,
    async make(_site, { host }) {
      fs.appendFileSync(host.path(SUBNET_FILE), 'DOCKER_OPT_BIP="--bip=1.2.3.4/24"\n');
      return nothing;
    },
  },
  {
    name: 'its disk is full',
    loses: false,
    async make(_site, { host }) {
      await host.run(['sh', '-c', `cat /dev/zero >${RUN_DISK}/fill || true`], { mayFail: true });
      return async () => {
        await host.run(['rm', `${RUN_DISK}/fill`]);
      };
    },
  },
  {
    name: 'its disk is full, and its TUN is deleted',
    loses: true,
    async make(_site, { host }) {
      await host.run(['sh', '-c', `cat /dev/zero >${RUN_DISK}/fill || true`], { mayFail: true });
      await host.ip('link del flannel.1');
      return async () => {
        await host.run(['rm', `${RUN_DISK}/fill`]);
      };
    },
  },
  {
    name: 'its disk is read-only, and the MTU changes',
    loses: true,
    async make(_site, { host }) {
      await host.run(['mount', '-n', '-o', 'remount,ro', RUN_DISK]);
      await host.ip('link set ens33 mtu 1400');
      return async () => {
        await host.run(['mount', '-n', '-o', 'remount,rw', RUN_DISK]);
        await host.ip('link set ens33 mtu 1500');
      };
    },
  },
];
