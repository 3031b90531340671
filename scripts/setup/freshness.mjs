/**
 * What is stale? Pure decisions: each takes what `state.mjs` read and gives the reason, in words for people, why a step
 * must run again, or undefined where what is there will do.
 */

/** One sentence when this Node is older than `engines.node` (`>=20.19`) asks. */
export function nodeComplaint(needed, running) {
  const wanted = needed.replace('>=', '').split('.').map(Number)
  const have = running.split('.').map(Number)
  const at = wanted.findIndex((part, index) => part !== have[index])
  if (at === -1 || have[at] > wanted[at]) return undefined
  return `Tessera needs Node ${wanted.join('.')} or newer, and this is Node ${running}; install a newer one from https://nodejs.org`
}

/**
 * Why must `npm ci` run? `stamp` is what the last installation noted, `lock` the hash of the lock file, `held` what npm
 * says it has installed, `linked` whether node_modules is a link to an installation that is somebody else's to keep,
 * `tools` whether the development tools are there and whether anybody `needsTools`.
 */
export function installReason({ present, linked, tools, needsTools, stamp, lock, abi, platform, held, locked }) {
  if (!present) return 'nothing is installed yet'
  if (linked) return undefined
  const unfinished = 'the last installation did not finish'
  if (needsTools && !tools) return stamp === undefined ? unfinished : 'the development tools are missing'
  if (stamp !== undefined && stamp.platform !== platform)
    return `it was installed for ${stamp.platform}, this is ${platform}`
  if (stamp !== undefined && stamp.abi !== abi) return `it was built for Node ABI ${stamp.abi}, this is ${abi}`
  if (stamp !== undefined && stamp.lock === lock) return undefined
  // Installed by hand, or added to: npm's own note of what it did says whether that is what the lock file asks.
  if (held !== undefined && sameInstallation(locked, held)) return undefined
  return stamp === undefined ? unfinished : 'package-lock.json has changed'
}

/** Whether npm holds every package of the lock, save optional ones (other platforms'), and none that the lock lacks. */
export function sameInstallation(locked, held) {
  const same = (name) => held[name] !== undefined && held[name].version === locked[name].version
  return (
    Object.keys(locked).every(
      (name) => name === '' || same(name) || (held[name] === undefined && locked[name].optional),
    ) && Object.keys(held).every((name) => locked[name] !== undefined)
  )
}

/** Why must the sources be compiled? `built` is the fingerprint that the last build noted, `sources` today's. */
export function buildReason({ built, sources }) {
  if (built === undefined) return 'nothing is built yet'
  return built === sources ? undefined : 'sources have changed'
}

/** Why must tap be built again with our choice of plugins? */
export function tapReason({ linked, built, wanted }) {
  if (linked || built === wanted) return undefined
  return built === undefined ? 'not done yet' : '.taprc has changed'
}

/** The likely cause of an npm failure in one sentence with its remedy, from what npm printed. */
export function npmCause(output) {
  const known = [
    [
      /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT/,
      'the package registry cannot be reached: check the network, the proxy and `npm config get registry`',
    ],
    [/ENOSPC/, 'the disk is full: about 600 MB are needed'],
    [/EACCES|EPERM|EROFS/, "this folder or npm's cache may not be written: check who owns them"],
    [
      /EUSAGE|can only install packages when/,
      'package.json and package-lock.json disagree: run `npm install` once and commit the lock file',
    ],
    [/EINTEGRITY/, 'a downloaded package is not the one in the lock file: run `npm cache verify`, and try again'],
    [/E404|ETARGET|notarget/, 'the registry does not hold a package of the lock file: check `npm config get registry`'],
    [/gyp ERR|node-gyp/, 'a native module did not compile: it needs a C++ compiler, make and python3'],
  ]
  const found = known.find(([pattern]) => pattern.test(output))
  return found === undefined ? 'npm says why above' : found[1]
}

/** How many of the lock's packages npm will install on this platform: optional ones only where they fit. */
export function packagesFor(locked, os, cpu, libc) {
  const fits = (allowed, value) => allowed === undefined || allowed.includes(value)
  const belongs = (entry) => fits(entry.os, os) && fits(entry.cpu, cpu) && fits(entry.libc, libc)
  return Object.keys(locked).filter((name) => name !== '' && (!locked[name].optional || belongs(locked[name]))).length
}
