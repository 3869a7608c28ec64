/**
 * What the changelog says of a version: a release has a heading of its own with its day,
 * `## [0.2.0] - 2026-12-01`, and nothing is left under "Unreleased" then.
 */

/** Why `version` is no release yet, by the text of CHANGELOG.md; undefined when it is one. */
export function whyNoRelease(text, version) {
  const headings = [...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
  const ours = headings.find((heading) => heading.startsWith(`[${version}]`));
  if (ours === undefined) return `has no heading "## [${version}] - YEAR-MONTH-DAY"`;
  const [, day] = /^\[[^\]]*\] [-–] (\d{4}-\d\d-\d\d)$/.exec(ours) ?? [];
  if (day === undefined || Number.isNaN(Date.parse(day))) return `has no day in "## ${ours}"`;
  const open = text.split(/^## /m).find((part) => part.startsWith('Unreleased\n')) ?? '';
  return /^[-*] /m.test(open) ? `has entries under "Unreleased" beside "## ${ours}"` : undefined;
}
