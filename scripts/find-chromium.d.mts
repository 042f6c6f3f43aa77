/** The path of a Chromium, or of a Chrome: `CHROMIUM`, else one on PATH, else a newly installed one; throws one line that says how to install it. */
export declare function findChromium(): string
