/** What becomes of the log: its disk, its reader. */
import { LOG_DISK, readLog } from '../site.js';
import { speak, type Trouble } from './trouble.js';

export const logTroubles: readonly Trouble[] = [
  {
    name: "the log's disk is full",
    loses: false,
    fits: ({ reader }) => reader === undefined,
    async make(site, { host }) {
      await host.run(['sh', '-c', `cat /dev/zero >${LOG_DISK}/fill || true`], { mayFail: true });
      await speak(site, 10);
      return async () => {
        await host.run(['rm', `${LOG_DISK}/fill`]);
        await speak(site, 1);
      };
    },
  },
  {
    name: 'the reader of the log is gone',
    loses: false,
    fits: ({ reader }) => reader !== undefined,
    async make(site, station) {
      await station.reader?.stop();
      await speak(site, 10);
      return async () => {
        station.reader = readLog(station.host);
        await speak(site, 1);
      };
    },
  },
  {
    name: 'the reader of the log stands still',
    loses: false,
    fits: ({ reader }) => reader !== undefined,
    async make(site, { reader }) {
      reader?.kill('SIGSTOP');
      await speak(site, 400);
      return async () => {
        reader?.kill('SIGCONT');
        await speak(site, 1);
      };
    },
  },
];
