/** The layout without Docker: Debian's CNI plugins on the subnet of subnet.env. */
import assert from 'node:assert/strict';
import { DROP_IN, type Site } from './site.js';

/** As the README says: forwarding is the host's own. */
const FORWARDING = 'echo net.ipv4.ip_forward=1 >/etc/sysctl.d/50-forward.conf';

/** What flannel's CNI plugin hands to the plugin `bridge`, from the file that weft writes. */
function configuration(subnetFile: string): string {
  const value = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(subnetFile)![1]!;
  const subnet = value('FLANNEL_SUBNET').replace(/\.\d+\//, '.0/');
  return JSON.stringify({
    ...{ cniVersion: '0.4.0', name: 'weft', type: 'bridge', bridge: 'cni0', hairpinMode: true },
    ...{ isDefaultGateway: true, mtu: Number(value('FLANNEL_MTU')) },
    ipMasq: value('FLANNEL_IPMASQ') !== 'true',
    ipam: {
      type: 'host-local',
      subnet,
      dataDir: '/run/cni',
      routes: [{ dst: value('FLANNEL_NETWORK') }],
    },
  });
}

export async function withoutDocker(site: Site): Promise<void> {
  const { machine } = site;
  await machine.sh(`systemctl disable --now docker.socket docker && rm ${DROP_IN}`);
  await site.flags();
  await machine.sh(FORWARDING);
  await machine.reboot();
  await site.booted();
  assert.equal(await machine.sh('sysctl -n net.ipv4.ip_forward'), '1');
  await site.weftIsWell();

  const text = configuration(await machine.sh('cat /run/flannel/subnet.env'));
  await machine.write('/run/weft.conf', text);
  await machine.sh('ip netns add pod');
  const answer = await machine.sh(
    'CNI_COMMAND=ADD CNI_CONTAINERID=pod CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 ' +
      'CNI_PATH=/usr/lib/cni /usr/lib/cni/bridge </run/weft.conf',
  );
  const { ips } = JSON.parse(answer) as { ips: { address: string }[] };
  const [address] = ips[0]!.address.split('/');
  assert.equal(await site.bridge('cni0'), await site.subnet());
  await site.answers(address!);
  assert.match(await machine.sh('ip netns exec pod ip link show eth0'), / mtu 1450 /);
  await machine.sh(`ip netns exec pod ping -c 1 -W 2 ${site.far}`);
  await site.weftIsWell();
}
