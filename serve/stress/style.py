"""How the report looks. Colours are told apart by words, too."""

STYLE = """
:root{--ink:#1d2733;--soft:#5b6876;--line:#e2e7ec;--ground:#fff;--raised:#f6f8fa;
--good:#0b7a5c;--goodbg:#dff3ec;--mid:#8a6100;--midbg:#fdf0cf;--bad:#a8321f;--badbg:#fbe2dc;--calm:#44607c;
--calmbg:#e4edf5}
@media(prefers-color-scheme:dark){:root{--ink:#e8edf2;--soft:#9aa7b5;--line:#2c3742;--ground:#131a21;
--raised:#1b242d;--good:#6fd6b3;--goodbg:#123a30;--mid:#f0c95c;--midbg:#3b3111;--bad:#ff9c87;--badbg:#46201a;
--calm:#a9c4de;--calmbg:#1f3143}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:60rem;margin:0 auto;padding:3rem 1.5rem 4rem}
.kicker{margin:0;color:var(--soft);font-size:.85rem;letter-spacing:.08em;text-transform:uppercase}
h1{margin:.1em 0 .6em;font-size:2rem;line-height:1.2;overflow-wrap:anywhere}
h2{margin:2.6rem 0 .6rem;font-size:1.35rem}h3{margin:0 0 .5rem;font-size:1.05rem}
.lead{font-size:1.15rem;max-width:46rem}p{max-width:46rem;margin:.6rem 0}
.figures{list-style:none;display:grid;grid-template-columns:repeat(3,1fr);gap:1rem;margin:1.4rem 0;padding:0}
.figures li{background:var(--raised);border-radius:10px;padding:1rem 1.2rem}
.figures b{display:block;font-size:1.7rem;line-height:1.2;font-variant-numeric:tabular-nums}
.figures span,.note,footer{color:var(--soft);font-size:.9rem}
.notice{background:var(--midbg);border-left:4px solid var(--mid);border-radius:6px;padding:.8rem 1rem}
.chip{display:inline-block;border-radius:999px;padding:.05rem .6rem;font-size:.8rem;white-space:nowrap}
.legend .chip{margin:0 .35rem .35rem 0}
.noticed{background:var(--goodbg);color:var(--good)}.sometimes{background:var(--midbg);color:var(--mid)}
.dangerous{background:var(--badbg);color:var(--bad)}.harmless,.unknown{background:var(--calmbg);color:var(--calm)}
table{border-collapse:separate;border-spacing:3px;width:100%;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:500;padding:.3rem .5rem}thead th{color:var(--soft);font-size:.85rem}
thead th+th{text-align:center;width:17%}
.family th{color:var(--soft);padding-top:1rem;font-size:.85rem;border-bottom:1px solid var(--line)}
td{text-align:center;border-radius:6px;padding:.25rem .4rem;line-height:1.25}
td b{font-weight:600}td small{display:block;opacity:.85;font-size:.75rem}
a{color:inherit;text-decoration-color:var(--line);text-underline-offset:3px}
.label{margin-left:.8rem;white-space:nowrap}
.label i{display:inline-block;width:.75em;height:.75em;border-radius:2px;
margin-right:.35em}
section{border-top:1px solid var(--line);padding:1.2rem 0}
.row{display:grid;grid-template-columns:repeat(4,1fr);gap:1rem}
figure{margin:0}figure img{display:block;max-width:100%;border-radius:6px;background:#000}
.none{width:168px;height:120px;border-radius:6px;background:var(--raised);color:var(--soft);display:grid;
place-items:center;font-size:.85rem}
figcaption{margin-top:.45rem;font-size:.85rem}
figcaption em{font-style:normal;font-weight:600;margin-right:.5em}
figcaption .chip{margin-top:.2rem}figcaption small{color:var(--soft);white-space:nowrap}.dice{float:right}
figcaption p{margin:.3rem 0 0;color:var(--soft);font-size:.8rem;line-height:1.4}
footer{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:1rem}
@media(max-width:44rem){.row{grid-template-columns:repeat(2,1fr)}.figures{grid-template-columns:1fr}}
"""
