const FORM = /^(https?):\/\/(?:\[[0-9a-fA-F:.]+\]|[^\s:/?#@[\]]+):([0-9]{1,5})\/?$/;
const EXAMPLE = 'http://192.168.56.131:2379';

/**
 * Checks etcd's addresses and gives them back without a trailing slash. Each must have a
 * scheme, a host and a port, and all the same scheme: a plaintext connection next to an
 * encrypted one would be a silent leak.
 */
export function checkEndpoints(endpoints: readonly string[]): string[] {
  if (endpoints.length === 0) throw new Error(`no etcd endpoint given; example: ${EXAMPLE}`);
  const trimmed = endpoints.map((endpoint) => endpoint.trim());
  const schemes = trimmed.map((endpoint) => {
    const [, scheme, port] = FORM.exec(endpoint) ?? [];
    if (scheme === undefined || Number(port) < 1 || Number(port) > 65535) {
      throw new Error(
        `etcd endpoint "${endpoint}" is not of the form http://host:port or https://host:port; ` +
          `example: ${EXAMPLE}`,
      );
    }
    return scheme;
  });
  if (new Set(schemes).size > 1) {
    throw new Error(
      `etcd endpoints ${trimmed.join(',')} mix http and https; give all of them with one scheme`,
    );
  }
  return trimmed.map((endpoint) => endpoint.replace(/\/$/, ''));
}
