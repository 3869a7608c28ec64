/** Real ufw and firewalld on a host of the lab; what they write stays there. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import type { Host } from '../../src/lab/host.js';

/** Has a host see these folders as they are, and change its own copy only. */
export async function ownFolders(host: Host, ...folders: string[]): Promise<void> {
  for (const folder of folders) {
    const layer = `/run/layers${folder}`;
    await host.run(['mkdir', '-p', `${layer}/upper`, `${layer}/work`]);
    const layers = `lowerdir=${folder},upperdir=${layer}/upper,workdir=${layer}/work`;
    await host.run(['mount', '-n', '-t', 'overlay', '-o', layers, 'lab', folder]);
  }
}

export class Firewalld {
  readonly #running: readonly Running[];

  private constructor(running: readonly Running[]) {
    this.#running = running;
  }

  /** Starts it as it comes, but for the program that sets its rules. */
  static async start(host: Host, backend: 'nftables' | 'iptables'): Promise<Firewalld> {
    const config = '/etc/firewalld/firewalld.conf';
    await host.run(['sed', '-i', `s/^FirewallBackend=.*/FirewallBackend=${backend}/`, config]);
    await host.run(['mkdir', '-p', '/run/dbus', '/var/log/firewalld']);
    const bus = host.start(['dbus-daemon', '--system', '--nofork', '--nopidfile']);
    const socket = ['test', '-S', '/run/dbus/system_bus_socket'];
    while ((await host.run(socket, { mayFail: true })).code !== 0) await sleep(50);
    const daemon = host.start(['firewalld', '--nofork', '--nopid']);
    for (;;) {
      const { code } = await host.run(['firewall-cmd', '--state'], { mayFail: true });
      if (code === 0) break;
      if (daemon.code !== undefined) throw new Error(`firewalld ended: ${daemon.output}`);
      await sleep(200);
    }
    return new Firewalld([daemon, bus]);
  }

  /** Its rules go with it. */
  async stop(): Promise<void> {
    for (const running of this.#running) await running.stop();
  }
}
