(function_definition name: (_) @name) @definition
(class_definition name: (_) @name) @definition
(module (expression_statement (assignment left: (identifier) @name) @definition))
