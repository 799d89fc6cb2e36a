/* Keyboard shortcuts. Disabled while typing and in controls that use the same keys. */
(function (root) {
  'use strict';
  const AF = root.ActFocus;
  const BUSY = 'input:not([type=checkbox]), textarea, select, dialog, [contenteditable], [role=slider], [role=listbox], [role=combobox], [role=tab], [role=radiogroup]';

  /* `actions`: key -> function. A focused token handles the arrow keys itself. Installed once per page. */
  function install(actions) {
    if (root.__actfocusKeys) return;
    root.__actfocusKeys = true;
    document.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      const inText = event.target.classList && event.target.classList.contains('t');
      const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (event.target.closest && event.target.closest(BUSY)) return;
      // Space and Enter press the button that has the focus.
      if ((name === ' ' || name === 'Enter') && event.target.closest('button, summary, a')) return;
      const action = (inText && actions[`token:${name}`]) || actions[name];
      if (!action) return;
      event.preventDefault();
      action();
    });
  }

  AF.keys = { install };
})(self);
