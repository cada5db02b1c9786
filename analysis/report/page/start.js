"use strict";
// Everything is defined: open the first run.

document.body.dataset.runs = DATA.runs.length;
showRun(0);
openAddress();
