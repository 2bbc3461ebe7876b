"""The door for browsers and programs: console, API and alert intake, in one server.

How a page is written: a module in `pages` with a `router`, each of whose functions says with `@does` which verb of
`mimrun.gate.scope` it does (or with `@open_to_all` that it is for everybody). It takes `Acting`, which says who acts,
calls `mimrun.app`, and gives back `show(...)` of a template, or after a change `see(...)` another page. What goes wrong is
raised as everywhere; `errors` makes a page or JSON of it. `site` has the list of all routers.

Who asks here has not the account that the server runs under: a plan is made with
`mimrun.app.server.planning.plan_at_server`, which reads no file, variable or secret that somebody names in a request.
"""
