/** `weft status drops`: every reason that occurred, what it means, a packet of late, and what the host's queues lost. */
import type { DropName } from '../../../dataplane/forward/drops.js';
import { aboutDrop } from '../drop-sample.js';
import { DROP_WORDS } from '../drop-words.js';
import { ago, columns, count } from '../format.js';
import { describeHost } from '../host.js';
import { type Line, under } from '../lines.js';
import type { HostGwStatus, Status } from '../status.js';

export function describeDropsView(status: Status | HostGwStatus): Line[] {
  if (status.backend !== 'vxlan') {
    return [['drops', 'none are counted: with host-gw the kernel forwards, no packet passes weft']];
  }
  const { drops, dropSamples, strangers, host, underlay, device } = status;
  const most = Object.entries(drops).sort(([, a], [, b]) => (b ?? 0) - (a ?? 0));
  const rows = most.map(([reason, packets]) => [
    reason,
    count(packets ?? 0),
    DROP_WORDS[reason as Exclude<DropName, 'none'>] ?? '',
  ]);
  // Below it the packet, which may be long: the reason is the shorter one.
  const samples = (dropSamples ?? []).flatMap((sample) => [
    `${sample.reason}, ${aboutDrop(sample)}`,
    `  ${sample.packet}`,
  ]);
  const senders = strangers.map(({ address, packets, secondsAgo }) => [
    ...[address, `${count(packets)} packets`, ago(secondsAgo)],
  ]);
  return [
    ...under('drops', rows.length === 0 ? ['none'] : columns([['reason', 'packets', ''], ...rows])),
    ...under('lately', samples),
    ...under('strangers', columns(senders)),
    ...describeHost(host, underlay.interface, device.name),
  ];
}
