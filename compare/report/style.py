"""How the report looks."""

CSS = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b636d;--line:#e3e6ea;--card:#fff;--page:#f5f6f8;
  --note:#fff3d6;--edge:#f0d48a}
@media(prefers-color-scheme:dark){@media not print{:root{--ink:#e6e9ed;--soft:#a3acb7;--line:#333941;
  --card:#1b1f24;--page:#121519;--note:#3a3012;--edge:#6d5a1d}}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,
  "Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
main{max-width:1180px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:15px;font-weight:600;color:var(--soft);margin:0 0 6px}
h2{font-size:17px;margin:0 0 4px}
h3{font-size:13.5px;margin:14px 0 2px}
.answer{font-size:25px;line-height:1.3;font-weight:650;margin:0 0 14px;max-width:60ch;text-wrap:balance}
.advice{font-size:17px;margin:-6px 0 14px;max-width:70ch}
.note{background:var(--note);border:1px solid var(--edge);border-radius:8px;padding:10px 14px;
  margin:0 0 18px;font-weight:600}
.facts{display:flex;flex-wrap:wrap;gap:8px;margin:0 0 16px;padding:0;list-style:none}
.facts li{background:var(--card);border:1px solid var(--line);border-radius:20px;padding:3px 12px;
  color:var(--soft);font-size:13px}
.facts b{color:var(--ink)}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(460px,100%),1fr));gap:16px;grid-auto-flow:dense;
  margin:0 0 16px}.two section{margin:0}.two section:has(.panels){grid-column:1/-1}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;
  margin:0 0 16px;min-width:0}
section p{color:var(--soft);margin:0 0 10px;font-size:13.5px;max-width:85ch}
ul.reasons{margin:0 0 4px;padding-left:20px}ul.doubts{margin:0;padding-left:20px;color:var(--soft)}
svg{width:100%;height:auto;max-height:1400px;display:block}svg text{font-family:inherit}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:10px}
.scroll{overflow-x:auto;overflow-wrap:normal}
:focus-visible{outline:2px solid #0072b2;outline-offset:2px}
table{border-collapse:collapse;font-size:12.5px;width:100%}
th{font-weight:600;text-align:right;padding:4px 8px;vertical-align:bottom}
thead th{border-bottom:1px solid var(--line)}
th:first-child{text-align:left;position:sticky;left:0;background:var(--card)}
tbody th{font-weight:400;vertical-align:middle;min-width:11em;padding-left:25px}
td{text-align:right;padding:4px 8px;white-space:nowrap;font-variant-numeric:tabular-nums}
td small{display:block;color:var(--soft);font-size:10.5px}
.dot{position:absolute;left:8px;top:calc(50% - 5px);width:10px;height:10px;border-radius:50%}
details{margin:6px 0 4px;font-size:12.5px;color:var(--soft)}summary{cursor:pointer}
dl{margin:6px 0;display:grid;grid-template-columns:max-content 1fr;gap:2px 14px}
dt{color:var(--ink)}dd{margin:0}
.case{border-top:1px solid var(--line);padding:10px 0 4px;break-inside:avoid}
.case h3{font-size:13px;margin:0 0 6px}
.case h3 span{font-weight:400;color:var(--soft)}
.thumbs{display:grid;grid-template-columns:repeat(auto-fill,minmax(140px,168px));gap:8px}
figure{margin:0}figure img{width:100%;border-radius:5px;display:block}
figcaption{font-size:12px;color:var(--soft)}
.line{display:inline-block;width:18px;border-top:3px solid;vertical-align:middle;margin:0 5px 0 0}
.words td,.words th{text-align:left;white-space:normal;padding:3px 14px 3px 0;vertical-align:top;
  min-width:6em}
footer{color:var(--soft);font-size:12.5px}
@media(max-width:560px){main{padding:20px 12px 40px}section{padding:14px 12px}.answer{font-size:20px}
  tbody th{min-width:0;max-width:34vw}}
@media print{body{background:#fff;font-size:11px}main{max-width:none;padding:0}h2,h3{break-after:avoid}
  .two{grid-template-columns:1fr 1fr;gap:10px}.two section,tr,.panels svg{break-inside:avoid}
  section{padding:10px 12px}.answer{font-size:19px}section p{font-size:11px}
  .scroll{overflow:visible}table{font-size:8.5px}td,th{padding:2px 3px}td small{font-size:7px}
  th:first-child{position:relative}tbody th{min-width:0}details{display:none}
  *{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
