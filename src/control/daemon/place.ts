/** Where weft is on the underlay, and what goes along when it is somewhere else. */

export interface Place {
  /** Dotted. */
  readonly address: string;
  /** The TUN's MTU; with host-gw, which has none, the containers'. */
  readonly mtu: number;
  /** The VRF that the address is in, if any. */
  readonly vrf?: string | undefined;
}

/** What can go on at another place. */
export interface Movable {
  readonly name: string;
  readonly place: Place;
  move(place: Place): Promise<void>;
}

/** With host-gw packets pass weft by: there is only a place to remember. */
export class NoPath implements Movable {
  readonly name: string;
  place: Place;

  constructor(name: string, place: Place) {
    this.name = name;
    this.place = place;
  }

  async move(place: Place): Promise<void> {
    this.place = place;
  }
}
