"""How the report looks."""

CSS = """
:root{color-scheme:light;--ink:#1b1f24;--soft:#5b636d;--line:#e3e6ea;--card:#fff;--page:#f5f6f8;
  --accent:#0072b2}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,
  "Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:15px;font-weight:600;color:var(--soft);margin:0 0 6px}
h2{font-size:17px;margin:0 0 4px}
h3{font-size:13.5px;margin:14px 0 2px}
.answer{font-size:25px;line-height:1.3;font-weight:650;margin:0 0 14px;max-width:60ch}
.note{background:#fff3d6;border:1px solid #f0d48a;border-radius:8px;padding:10px 14px;
  margin:0 0 18px;font-weight:600}
.facts{display:flex;flex-wrap:wrap;gap:8px;margin:0 0 16px;padding:0;list-style:none}
.facts li{background:var(--card);border:1px solid var(--line);border-radius:20px;padding:3px 12px;
  color:var(--soft);font-size:13px}
.facts b{color:var(--ink)}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(460px,100%),1fr));gap:16px;
  margin:0 0 16px}.two section{margin:0}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;
  margin:0 0 16px;min-width:0}
section p{color:var(--soft);margin:0 0 10px;font-size:13.5px;max-width:85ch}
ul.reasons{margin:0 0 4px;padding-left:20px}ul.doubts{margin:0;padding-left:20px;color:var(--soft)}
svg{width:100%;height:auto;display:block}svg text{font-family:inherit}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:12.5px;width:100%}
th{font-weight:600;text-align:right;padding:4px 8px;border-bottom:1px solid var(--line);
  vertical-align:bottom}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--card);
  white-space:nowrap}
td{text-align:right;padding:4px 8px;white-space:nowrap;font-variant-numeric:tabular-nums}
td small{display:block;color:#6b7480;font-size:10.5px}
.dot{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:7px}
.case{border-top:1px solid var(--line);padding:10px 0 4px}.case h3{font-size:13px;margin:0 0 6px}
.case h3 span{font-weight:400;color:var(--soft)}
.thumbs{display:flex;flex-wrap:wrap;gap:8px}figure{margin:0;width:168px}figure img{width:100%;
  border-radius:5px;display:block}
figcaption{font-size:12px;color:var(--soft)}
.line{display:inline-block;width:18px;border-top:3px solid;vertical-align:middle;margin:0 5px 0 0}
.words td,.words th{text-align:left;white-space:normal;padding:3px 14px 3px 0}
.failed td{white-space:normal;text-align:left}
footer{color:var(--soft);font-size:12.5px}code{font-size:12px;background:#eef0f3;padding:1px 4px;
  border-radius:4px}
@media(max-width:560px){.two{grid-template-columns:1fr}.answer{font-size:20px}}
@media print{section{break-inside:avoid}body{background:#fff}}
"""
