/** What docs/security.md says that a unit must not set, each line of it tried in a drop-in. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Machine } from './machine.js';
import type { Site } from './site.js';

const FILE = '/run/systemd/system/weft.service.d/must-not.conf';

interface Line {
  readonly set: string;
  /** What the journal has then. */
  readonly told: RegExp;
  /** Whether weft runs nevertheless. */
  readonly runs: boolean;
}

const no = (set: string, told: RegExp): Line => ({ set, told, runs: false });
const worse = (set: string, told: RegExp): Line => ({ set, told, runs: true });
const ONE_LANE = /bpf: .*one lane in place of 2/;

const LINES: readonly Line[] = [
  no('MemoryDenyWriteExecute=yes', /Main process exited/),
  no('PrivateDevices=yes', /there is no \/dev\/net\/tun/),
  no('DeviceAllow=', /\/dev\/net\/tun may not be opened/),
  no('PrivateUsers=yes', /cannot create the TUN flannel\.1.*EPERM/),
  no('DynamicUser=yes', /no CAP_NET_ADMIN/),
  no('CapabilityBoundingSet=~CAP_NET_ADMIN', /no CAP_NET_ADMIN/),
  ...['AF_UNIX', 'AF_NETLINK', 'AF_INET'].map((family) =>
    no(`RestrictAddressFamilies=~${family}`, new RegExp(`no socket may be made of ${family} `)),
  ),
  no('LimitNOFILE=50', /no more than 50 files may be open.*LimitNOFILE=/),
  worse('CapabilityBoundingSet=~CAP_BPF', ONE_LANE),
  worse('SystemCallFilter=~bpf', ONE_LANE),
  worse('LimitFSIZE=0', /cannot write the journal .*EFBIG/),
];

/** Starts weft with a line more in its unit; what the journal has then. */
async function start(machine: Machine, set: string): Promise<string> {
  await machine.write(FILE, `[Service]\n${set}\n`);
  await machine.sh('systemctl daemon-reload; systemctl stop weft');
  const began = await machine.sh("journalctl -n 0 --show-cursor | sed -n 's/-- cursor: //p'");
  await machine.sh('systemctl start weft || true');
  return await machine.sh(`journalctl -u weft -o cat --no-pager --after-cursor='${began}'`);
}

export function mustNotSet(site: () => Site): void {
  describe('what a unit must not set', () => {
    for (const { set, told, runs } of LINES) {
      test(set, async () => {
        const text = await start(site().machine, set);
        assert.match(text, told);
        assert.equal(/^ready: /m.test(text), runs, text);
      });
    }

    test('and without them it is well again', async () => {
      await site().machine.sh(`rm ${FILE}; systemctl daemon-reload; systemctl restart weft`);
      await site().weftIsWell();
    });
  });
}
