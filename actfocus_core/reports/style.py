"""The style sheet of the report."""

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d0d7de;--soft:#57606a;--blue:0,114,178}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--line:#30363d;--soft:#9da7b3;--blue:86,180,233}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}
table{border-collapse:collapse;font-size:.85rem;display:block;overflow-x:auto}
th,td{text-align:left;padding:.2rem .7rem .2rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:pre}summary{cursor:pointer;color:var(--soft)}.soft,figcaption{color:var(--soft)}
figure{margin:1.2rem 0}svg{width:100%;height:auto;font-size:12px}svg text{fill:var(--ink)}svg line{stroke:var(--soft)}
svg circle{fill:rgb(var(--blue));fill-opacity:.7}.line{fill:none;stroke:rgb(var(--blue));stroke-width:2}
.fill-reasoning{fill:#E69F00}.fill-action{fill:#0072B2}.fill-format{fill:#CC79A7}.fill-bar{fill:rgb(var(--blue))}
.key span{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
.key .reasoning{background:#E69F00}.key .action{background:#0072B2}.key .format{background:#CC79A7}
.stream{white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.7 ui-monospace,monospace;border:1px solid var(--line);padding:.8rem}
.stream .k3{border-bottom:2px solid #E69F00}.stream .k4{border-bottom:2px solid #0072B2}.stream .k5{border-bottom:2px solid #CC79A7}
.stream .k0,.stream .k1,.stream .k2{color:var(--soft)}
"""
