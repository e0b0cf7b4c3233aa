"""Rules judged against what really happened: a replay, and the accounts that churned.

Days are closes: an alert that opens on day ``t`` was not known before that day was over. ``h`` is the horizon.

The period
    Days ``[F..J]`` are judged. ``F`` is the first event's day, or a later one that was asked for. ``J`` is the day
    ``h`` days before the end of the data, or an earlier one that was asked for. The data end on the newest event's
    day; outcomes after it have not happened yet.

Customers
    An account counts from the day of its first event on, and up to the day before it churned; again from the day on
    which it renewed after that. One without an outcome is a customer to the end. What an account does after its
    churn counts nowhere: no day, no alert.

Alerts
    An alert counts if it opened on a judged day, of a customer. One that opened later than ``J`` counts nowhere,
    even if its churn is known already: of late alerts only the bad news would be in, and precision would look better
    than it is. It is *true* if its account churned on one of the days ``[t+1..t+h]``.
    *Any rule*: an account's day on which at least one rule opened is one alert, however many rules did. Rules of
    severity ``info`` are left out of it, as they are out of the risk level.

Precision
    True alerts / alerts; 95 % Wilson interval.

Recall
    A churn counts if all ``h`` closes before it were judged ones: ``[c-h..c-1]`` lies in ``[F..J]``. Earlier ones had
    no full lead, later ones would miss the alerts that count nowhere; both are counted apart. One on the account's
    first day, or before it, is among the earlier ones. It is *caught* by a
    rule that opened on one of those closes while the account was a customer. Recall is caught / counted; 95 % Wilson
    interval.

Lift
    Precision / base rate. The base rate is the share of customers' judged days that had a churn within the next ``h``
    days. That is the precision of a rule that opens on days drawn by lot, so such a rule has a lift of 1; a share of
    *accounts* would grow with the length of the history, and could not be compared with precision. The interval is
    that of precision over the base rate, which is taken as known.

Lead time
    Days from a rule's first alert in ``[c-h..c-1]`` to the churn ``c``, over the churns that it caught. The quartiles
    are the inclusive ones; the median's 95 % interval is made of two of the values themselves (order statistics)
    and there is none below six.

Rate
    Alerts / customers' judged days x 700: per 100 accounts and week; exact 95 % Poisson interval.

The intervals take alerts as independent. Several alerts of one account before one churn are not, so the true
uncertainty is somewhat larger.
"""
