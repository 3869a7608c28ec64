/** What becomes of etcd and of what is in it. */
import { PREFIX } from '../../network/overlay.js';
import { statusOf } from '../site.js';
import { nothing, speak, type Trouble } from './trouble.js';

export const storeTroubles: readonly Trouble[] = [
  {
    name: 'etcd stands still',
    loses: false,
    async make({ etcd }) {
      etcd.process.kill('SIGSTOP');
      return async () => etcd.process.kill('SIGCONT');
    },
  },
  {
    name: 'etcd is down',
    loses: false,
    async make({ etcd }) {
      await etcd.process.stop();
      return () => etcd.launch();
    },
  },
  {
    name: 'etcd forgets its past',
    loses: false,
    async make({ etcd }) {
      // There is something to forget.
      await etcd.put('/soak', 'x');
      await etcd.compact();
      return nothing;
    },
  },
  {
    name: 'our key is deleted',
    loses: true,
    async make({ etcd }, { host }) {
      const subnet = (await statusOf(host))?.lease.subnet ?? '';
      await etcd.delete(`${PREFIX}/subnets/${subnet.replace('/', '-')}`);
      return nothing;
    },
  },
  {
    name: 'a hundred peers join and leave',
    loses: false,
    async make(site) {
      await speak(site, 100);
      return nothing;
    },
  },
  {
    name: 'nonsense in the store',
    loses: false,
    async make({ etcd }) {
      await etcd.put(`${PREFIX}/subnets/10.10.99.0-24`, 'nonsense \u001b[31m');
      await etcd.put(`${PREFIX}/subnets/nonsense`, '{}');
      return async () => {
        await etcd.delete(`${PREFIX}/subnets/10.10.99.0-24`);
        await etcd.delete(`${PREFIX}/subnets/nonsense`);
      };
    },
  },
];
