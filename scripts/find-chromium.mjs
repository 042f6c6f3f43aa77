import { findProgram } from './find-program.mjs'

/**
 * The path of a Chromium, or of a Chrome: CHROMIUM, else one on PATH, else a newly installed one.
 * @returns {string}
 * @throws {Error} with one line that says how to install it
 */
export function findChromium() {
  return findProgram({
    variable: 'CHROMIUM',
    names: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'],
    debianPackage: 'chromium',
    remedy:
      'Chromium or Chrome is needed for the tests: install it (apt-get install chromium, brew install --cask chromium) or set CHROMIUM to its path',
  })
}
