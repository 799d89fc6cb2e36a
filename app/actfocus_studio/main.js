/* The studio's script: its parts are built by Gradio's components, in any order, and it opens what the address names. */
import './pages/compare/page.js';
import './pages/groups/page.js';
import './pages/learn/page.js';
import './pages/rollouts/page.js';
import './pages/trace/page.js';
import './pages/train/page.js';
import './pages/tune/page.js';
import './panels/import_export/panel.js';
import './panels/whatif/panel.js';
import './shell/rollout_form.js';
import './shell/top_bar.js';
import { start } from './web/lib/navigation.js';
import { endStrayFrames } from './web/lib/stray_frames.js';

start();
endStrayFrames();
