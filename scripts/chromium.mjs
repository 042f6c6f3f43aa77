// Prints the path of a Chromium for the tests, installing one where it can.
import { findChromium } from './find-chromium.mjs'
import { printPath } from './find-program.mjs'

printPath(findChromium)
